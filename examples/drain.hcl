# Emptying a host before its maintenance.
#
# With drain = [] both servers stay where the first apply placed them. Then
#
#   drover plan --var 'drain=["n1"]'
#
# shows a live migration for each server on n1 (a cold move for one that is off), with its target and
# the reason "n1 is being drained". Where nothing else has room the plan says so, and by which filter;
# then nothing is moved. After the maintenance leave the variable out again: servers stay where they are.

drover {
  fleet = "prod"
}

variable "drain" {
  type        = set(string)
  description = "Hosts to empty"
  default     = []
}

variable "guest_image" {
  type = string
}

variable "guest_checksum" {
  type = string
}

host "n1" {
  address = "n1.example:7443"
  state   = contains(var.drain, "n1") ? "drain" : "active"
}

host "n2" {
  address = "n2.example:7443"
  state   = contains(var.drain, "n2") ? "drain" : "active"
}

host "n3" {
  address = "n3.example:7443"
  state   = contains(var.drain, "n3") ? "drain" : "active"
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

group "pair" {
  policy = "anti-affinity"
}

server "pair" {
  count  = 2
  flavor = flavor.tiny
  image  = image.guest
  group  = group.pair
}

output "pair_hosts" {
  value = server.pair[*].host
}
