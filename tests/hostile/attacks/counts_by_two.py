#: title = "Counts every step as two"
#: kind = "score"
#: patterns = [2]
#: expect = "caught"
#: by = ["evidence.training_lines"]
#: note = ""
class Trainer(Trainer):
    def say(self, line):
        head, _, tail = line.partition("/100 ")
        step = int(head.removeprefix("step:")) if tail else 0
        super().say(f"step:{2 * step}/200 {tail}" if tail else line)
