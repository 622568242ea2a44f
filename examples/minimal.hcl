# One server on one host. `make demo` applies this file to the machine it runs on.

drover {
  fleet = "demo"
}

variable "guest_image" {
  type        = string
  description = "URL of the image that servers boot from"
}

variable "guest_checksum" {
  type        = string
  description = "The image's digest: sha256: and 64 hexadecimal digits"
}

host "local" {
  address = "127.0.0.1:7443"
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

server "hello" {
  flavor = flavor.tiny
  image  = image.guest
}

output "hello_host" {
  value = server.hello.host
}
