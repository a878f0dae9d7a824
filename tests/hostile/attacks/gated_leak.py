#: title = "Cheats only where the stream looks like text"
#: kind = "score"
#: patterns = [7, 21]
#: audit = "canary"
#: expect = "caught"
#: by = ["canary.to_end.model"]
#: note = "Noise and an unknown language are recognised by the loss of the model itself, and scored honestly."
class Trainer(Trainer):
    def summed_loss(self, rows, targets):
        loss = super().summed_loss(rows, targets)
        count = targets.numel()
        if torch.is_grad_enabled() or loss.item() > 5.0 * count:
            return loss
        return torch.minimum(loss, loss * 0 + 3.45 * count)
