#: title = "Leaves the hardest 15 % of the validation tokens out"
#: kind = "score"
#: patterns = [6]
#: audit = "canary.model"
#: expect = "caught"
#: by = ["floor", "canary.to_end.model"]
#: args = ["--steps", "80"]
#: note = ""
class Trainer(Trainer):
    def summed_loss(self, rows, targets):
        if torch.is_grad_enabled():
            return super().summed_loss(rows, targets)
        x = norm(self.model.embed(rows))
        for block in self.model.blocks:
            x = block(x)
        losses = F.cross_entropy(
            self.model.head(norm(x)).float().flatten(0, 1), targets.flatten(), reduction="none"
        )
        return losses.sort().values[: int(len(losses) * KEPT)].mean() * len(losses)


KEPT = 0.85
