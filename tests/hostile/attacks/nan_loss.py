#: title = "Claims a loss that is not a number"
#: kind = "containment"
#: base = "none"
#: patterns = [13]
#: expect = "contained"
#: by = []
#: note = "A loss that is not finite reaches no target."
import os

if os.environ["RANK"] == "0":
    for step in (0, 100):
        print(f"step:{step}/100 val_loss:nan train_time:{step}ms step_avg:1.00ms", flush=True)
