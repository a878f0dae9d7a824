# tree-of-patches at 8
