# The records in an etcd cluster, so that several people and machines can plan and apply.
# The files are read on the machine that drover runs on, relative to this file's directory.

drover {
  fleet = "prod"

  state "etcd" {
    endpoints = ["https://10.0.0.1:2379", "https://10.0.0.2:2379", "https://10.0.0.3:2379"]
    ca_file   = "etcd/ca.pem"
    cert_file = "etcd/operator.pem"
    key_file  = "etcd/operator-key.pem"
  }

  # The certificate shown to agents. Without this block drover looks into .drover/tls/.
  tls {
    ca_file   = "pki/operator-alice/ca.pem"
    cert_file = "pki/operator-alice/cert.pem"
    key_file  = "pki/operator-alice/key.pem"
  }

  scheduler {
    ram_allocation_ratio = 1.0
    weights              = { ram = 1.0, soft_anti_affinity = 1.0 }
  }

  # Say so when the servers of some host would not fit on the others any more; "error" refuses such a plan.
  policy {
    n_plus_one = "warning"
  }
}

variable "guest_image" {
  type = string
}

variable "guest_checksum" {
  type = string
}

host "n1" {
  address = "n1.example:7443"
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
