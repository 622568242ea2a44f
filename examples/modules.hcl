# One shop for each region, all made by the module in modules/shop.
#
#   drover plan --var guest_image=https://images.example/guest.img --var guest_checksum=sha256:…

drover {
  fleet = "prod"
}

variable "guest_image" {
  type        = string
  description = "Where the hosts fetch the image: an https://, http:// or file:/// URL"
}

variable "guest_checksum" {
  type        = string
  description = "The image's digest: sha256: and 64 hexadecimal digits"
}

variable "regions" {
  type        = map(object({ zone = string, servers = optional(number, 1) }))
  description = "Where there are shops, and how large each is"
  default = {
    east = { zone = "rack-1", servers = 2 }
    west = { zone = "rack-2" }
  }
}

host "n1" {
  address           = "n1.example:7443"
  availability_zone = "rack-1"
}

host "n2" {
  address           = "n2.example:7443"
  availability_zone = "rack-1"
}

host "n3" {
  address           = "n3.example:7443"
  availability_zone = "rack-2"
}

flavor "tiny" {
  vcpus = 1
  ram   = "128MiB"
  disk  = "64MiB"
}

image "guest" {
  source   = var.guest_image
  checksum = var.guest_checksum
}

# Its servers are module.shop["east"].server.web[0] and so on, and are named shop-east-web-0.
module "shop" {
  source   = "./modules/shop"
  for_each = var.regions

  flavor  = flavor.tiny
  image   = image.guest
  zone    = each.value.zone
  servers = each.value.servers
}

# It comes up when all shops are there.
server "balancer" {
  flavor     = flavor.tiny
  image      = image.guest
  labels     = { backends = join(",", flatten([for shop in module.shop : shop.names])) }
  depends_on = [module.shop]
}

output "hosts" {
  description = "Where the servers of each shop were placed"
  value       = { for region, shop in module.shop : region => shop.hosts }
}
