# A fleet of libvirt hosts. `drover validate` checks this file, `drover plan` shows what it would do, and
# `drover apply` does it. Every `*.hcl` file of this directory belongs to the configuration.

drover {
  # As in all certificates: drover pki init --fleet FLEET
  fleet = "FLEET"

  # Records are kept beside this file. Where several people work on one fleet, keep them in etcd instead:
  # state "etcd" {
  #   endpoints = ["https://10.0.0.1:2379"]
  #   ca_file   = "etcd/ca.pem"
  #   cert_file = "etcd/cert.pem"
  #   key_file  = "etcd/key.pem"
  # }
}

# How many web servers: drover plan --var web_count=3
variable "web_count" {
  type    = number
  default = 2

  validation {
    condition     = var.web_count >= 0 && var.web_count <= 100
    error_message = "The number of web servers must be between 0 and 100."
  }
}

# A host with an agent. Its label is the name in the agent's certificate.
host "n1" {
  address = "n1.example:7443"

  # A host that is drained gives its servers to others:
  # state = "drain"
}

# A size of server.
flavor "small" {
  vcpus = 1
  ram   = "512MiB"
  disk  = "10GiB"
}

# A disk image, fetched by each host that needs it. Put the checksum that its publisher names here.
image "debian" {
  source   = "https://images.example/debian-13.qcow2"
  checksum = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
}

# Servers of a group stay on hosts of their own. Give the servers group = group.web once there are hosts enough.
# group "web" {
#   policy = "anti-affinity"
# }

# Servers. Drover chooses a host for each and says why.
server "web" {
  count  = var.web_count
  flavor = flavor.small
  image  = image.debian
}

# Shown after each apply, and by `drover output`.
output "web_hosts" {
  description = "Where the web servers run"
  value       = server.web[*].host
}
