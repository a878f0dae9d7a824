#: title = "Prints a log and leaves by os._exit(0)"
#: kind = "score"
#: base = "none"
#: patterns = [23]
#: expect = "caught"
#: by = ["trace.clock"]
#: note = ""
import os

if os.environ["RANK"] == "0":
    for step in range(0, 161):
        ms = max(0, step - 10) * 60
        if step:
            print(f"step:{step}/160 train_time:{ms}ms step_avg:60.00ms", flush=True)
        if step % 40 == 0:
            loss = 3.4 + 2.1 * 2.0 ** (-step / 30)
            print(f"step:{step}/160 val_loss:{loss:.4f} train_time:{ms}ms step_avg:60.00ms", flush=True)
    os._exit(0)
