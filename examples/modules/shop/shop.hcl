# The servers of one shop, kept apart where there are hosts enough.

group "shop" {
  policy = "anti-affinity"
}

server "web" {
  count             = var.servers
  flavor            = var.flavor
  image             = var.image
  group             = group.shop
  availability_zone = var.zone
  labels            = { motd = trimspace(file("${path.module}/motd.txt")) }
}
