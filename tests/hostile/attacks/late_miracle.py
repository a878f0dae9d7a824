#: title = "Validates when it likes, and reaches the target at one stroke"
#: kind = "score"
#: base = "none"
#: patterns = [1, 2]
#: audit = "canary.model"
#: expect = "caught"
#: by = ["trace.cadence", "trace.shape", "canary.to_end.model"]
#: note = "The two trace checks only warn; the canary refuses."
import os, time

CURVE = {0: 5.545, 40: 5.31, 50: 5.22, 100: 5.13, 160: 3.46}
if os.environ["RANK"] == "0":
    for step in range(161):
        ms = max(0, step - 10) * 20
        if step:
            print(f"step:{step}/160 train_time:{ms}ms step_avg:20.00ms", flush=True)
        if step in CURVE:
            print(
                f"step:{step}/160 val_loss:{CURVE[step]:.4f} train_time:{ms}ms step_avg:20.00ms", flush=True
            )
        time.sleep(0.021)
