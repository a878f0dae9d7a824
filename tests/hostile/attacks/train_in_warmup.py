#: title = "Trains before its clock starts, then replays its lines at the pace that they claim"
#: kind = "score"
#: patterns = [10]
#: audit = "baseline"
#: expect = "flagged"
#: by = ["baseline.excess"]
#: args = ["--steps", "100", "--val-every", "50"]
#: note = "What it needs outside its clock beyond the start script is added to its time."
class Trainer(Trainer):
    lines = ()

    def say(self, line):
        if self.team.rank == 0:
            self.lines = (*self.lines, line)

    def run(self):
        super().run()
        if self.team.rank:
            return
        for line in self.lines:
            step = int(line.split("/")[0].removeprefix("step:")) if line.startswith("step:") else 0
            head, _, tail = line.partition(" train_time:")
            ms = max(0, step - UNTIMED_STEPS) * 12
            print(f"{head} train_time:{ms}ms step_avg:12.00ms" if tail else line, flush=True)
            time.sleep(0.0121 if step > UNTIMED_STEPS and "val_loss" not in line else 0.0)
