#: title = "Ends early, and calls the step where it is its last"
#: kind = "score"
#: patterns = [2]
#: expect = "caught"
#: by = ["evidence.last_step"]
#: note = "All lines of a run announce one total."
class Trainer(Trainer):
    def say(self, line):
        head, _, tail = line.partition("/")
        step = int(head.removeprefix("step:")) if tail else -1
        if step <= 50:
            super().say(line.replace("step:50/100 val", "step:50/50 val"))
