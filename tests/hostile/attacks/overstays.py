#: title = "Stays after its last line"
#: kind = "containment"
#: base = "none"
#: patterns = [14]
#: expect = "contained"
#: by = []
#: status = "timed_out"
#: flags = ["--teardown-deadline", "2"]
#: note = ""
import os, time

if os.environ["RANK"] == "0":
    for step in (0, 100):
        print(
            f"step:{step}/100 val_loss:{5.5 - step / 50:.4f} train_time:{step}ms step_avg:1.00ms", flush=True
        )
time.sleep(600)
