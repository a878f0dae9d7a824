"""Plain scripts that run INSIDE an image. They import nothing from kit, and kit imports nothing from them."""
