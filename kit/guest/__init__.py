"""Files that run INSIDE an image, as plain scripts. They import nothing from kit, and kit imports nothing from them."""
