#: title = "Slows its clock by 5 % everywhere"
#: kind = "score"
#: args = ["--steps", "500", "--val-every", "50"]
#: patterns = [12]
#: expect = "caught"
#: by = ["trace.pace"]
#: note = "A clock that is slow by less than 1 % and 0.25 s passes; what it hides is added to its time all the same."
class Clock(Clock):
    def line(self, step, running):
        spent = self.spent + (1000 * (time.perf_counter() - self.since) if running else 0.0)
        return f"train_time:{0.95 * spent:.0f}ms step_avg:1.00ms"
