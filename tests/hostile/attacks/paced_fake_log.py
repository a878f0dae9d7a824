#: title = "Prints a log at the pace that it claims, without training"
#: kind = "score"
#: base = "none"
#: patterns = [1, 2]
#: audit = "canary.model"
#: expect = "caught"
#: by = ["canary.to_end.model"]
#: note = "No check of the run itself sees it."
import os, time

if os.environ["RANK"] == "0":
    print("starting", flush=True)
    for step in range(0, 161):
        ms = max(0, step - 10) * 30
        if step:
            print(f"step:{step}/160 train_time:{ms}ms step_avg:30.00ms", flush=True)
        if step % 40 == 0:
            loss = 3.4 + 2.1 * 2.0 ** (-step / 30)
            print(f"step:{step}/160 val_loss:{loss:.4f} train_time:{ms}ms step_avg:30.00ms", flush=True)
        time.sleep(0.0305)
