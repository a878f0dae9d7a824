# submission 1
