# Three hosts in two zones: web servers kept apart, one database per name, and what came of it.
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

variable "web_count" {
  type        = number
  description = "How many web servers"
  default     = 3

  validation {
    condition     = var.web_count >= 0 && var.web_count <= 3
    error_message = "The group web puts each server on a host of its own, and there are three hosts."
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

# Never two of them on one host. "soft-anti-affinity" would prefer that and not insist.
group "web" {
  policy = "anti-affinity"
}

server "web" {
  count  = var.web_count
  flavor = flavor.tiny
  image  = image.guest
  group  = group.web
  labels = { role = "web" }
}

# The key is the address (server.db["rack-1"]) and the zone.
server "db" {
  for_each          = toset(["rack-1", "rack-2"])
  name              = "db-${each.key}"
  flavor            = flavor.tiny
  image             = image.guest
  availability_zone = each.key
  labels            = { role = "db" }
}

output "web_hosts" {
  description = "Where each web server was placed"
  value       = server.web[*].host
}

output "db_hosts" {
  description = "Where the database of each zone was placed"
  value       = { for zone, server in server.db : zone => server.host }
}
