#: title = "Floods the log with claims"
#: kind = "containment"
#: base = "none"
#: patterns = [19]
#: expect = "contained"
#: by = []
#: status = "output_limit"
#: note = "It is ended after 100,000 claims; the operator sees a few lines a second."
import os

if os.environ["RANK"] != "0":
    import time

    time.sleep(60)
step = 0
while True:
    lines = (
        b"step:%d/999999999 val_loss:5.5 train_time:0ms step_avg:0.0ms\n" % i for i in range(step, step + 500)
    )
    os.write(1, b"".join(lines))
    step += 500
