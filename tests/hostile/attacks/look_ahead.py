#: title = "Attention without its causal mask"
#: kind = "score"
#: patterns = [7]
#: audit = "canary"
#: expect = "caught"
#: by = ["floor", "canary.to_end.model"]
#: note = "The model learns to copy the next token from its own input."
class Attention(Attention):
    def forward(self, x):
        n, t, width = x.shape
        q, k, v = (
            part.view(n, t, self.heads, -1) for part in F.linear(x, self.qkv.flatten(0, 1)).chunk(3, -1)
        )
        q, k = self.rotate(norm(q)), self.rotate(norm(k))
        y = F.scaled_dot_product_attention(*(z.transpose(1, 2) for z in (q, k, v)), is_causal=False)
        return F.linear(y.transpose(1, 2).reshape(n, t, width), self.out)
