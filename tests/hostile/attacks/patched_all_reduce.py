#: title = "Shrinks the sum of the validation loss between the ranks"
#: kind = "score"
#: args = ["--steps", "80"]
#: patterns = [13]
#: expect = "caught"
#: by = ["source.patch", "floor"]
#: note = ""
real_sum = dist.all_reduce


def all_reduce(x, *more, **named):
    real_sum(x, *more, **named)
    if x.dtype == torch.float64:
        x.mul_(0.85)


dist.all_reduce = all_reduce
