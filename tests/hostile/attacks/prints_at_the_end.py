#: title = "Holds all of its lines back and prints them at the end"
#: kind = "score"
#: patterns = [10]
#: expect = "caught"
#: by = ["trace.clock"]
#: note = "Every line is there, and the host saw none of them come."
class Trainer(Trainer):
    lines = ()

    def say(self, line):
        self.lines = (*self.lines, line)

    def run(self):
        super().run()
        if self.team.rank == 0:
            print("\n".join(self.lines), flush=True)
