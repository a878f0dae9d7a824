#: title = "Tries twice and prints the lines of both"
#: kind = "score"
#: base = "none"
#: patterns = [2, 16]
#: expect = "caught"
#: by = ["trace.monotone"]
#: note = ""
import os, time

if os.environ["RANK"] == "0":
    for worst in (3.7, 3.4):
        for step in range(0, 161):
            ms = max(0, step - 10) * 8
            if step:
                print(f"step:{step}/160 train_time:{ms}ms step_avg:8.00ms", flush=True)
            if step % 40 == 0:
                loss = worst + 2.1 * 2.0 ** (-step / 30)
                print(f"step:{step}/160 val_loss:{loss:.4f} train_time:{ms}ms step_avg:8.00ms", flush=True)
            time.sleep(0.0081)
