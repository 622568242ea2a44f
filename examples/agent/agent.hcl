# One host's agent: /etc/drover/agent.hcl. Every setting is here; the ones marked "default" may be left out.
# Relative paths are relative to this file. `drover-agent --config FILE --check` says whether it is good.

host   = "n1"           # as in the configuration's host "n1" block, and in the certificate
fleet  = "prod"         # certificates of other fleets are refused
listen = "0.0.0.0:7443" # the one port: planner, other agents, migrations; an IP address and a port

data_dir       = "/var/lib/drover" # images, servers' disks, operation log (default); one disk, with room
libvirt_uri    = "qemu:///system"  # default
virt_type      = "auto"            # default; auto: kvm where a throw-away guest ran under it, else qemu; or kvm, qemu
shutdown_grace = "30s"             # default; how long running operations may go on after SIGTERM
log_format     = "text"            # default; or json; the level is in the environment: DROVER_LOG=debug

tls {
  ca_file   = "tls/ca.pem" # all three are read again when they change
  cert_file = "tls/cert.pem"
  key_file  = "tls/key.pem"
}

# What the host keeps for itself: never given to servers. Each is 0 by default.
reserved {
  vcpus  = 1
  memory = "1GiB"
  disk   = "10GiB"
}

# Which processors serve whom. Without the block every processor serves both kinds of servers; one that is in neither
# set is the host's own.
cpus {
  shared    = "0-1" # for servers that share processors
  dedicated = "2-7" # to pin servers with hw:cpu_policy = "dedicated" to; default: none once shared is given
}

# PCI devices that servers may be given whole, as flavors ask with pci_passthrough:alias: what every rule says must
# hold, and one rule must allow it. Without rules no device is given away.
pci_device {
  vendor_id  = "10de" # four hexadecimal digits, as lspci -n shows them
  product_id = "1eb8"
}

pci_device {
  vendor_id  = "8086"
  product_id = "10ca"
  address    = "0000:0b:*.*" # domain:bus:slot.function; * stands for any
}

images {
  max_size        = "64GiB" # default; the largest source file
  connect_timeout = "10s"   # default
  stall_timeout   = "30s"   # default; how long a source may send nothing
  total_timeout   = "6h"    # default; how long a whole fetch may take

  file_roots    = ["/srv/images"] # file:/// sources may lie below these; default none
  extra_ca_file = "images-ca.pem" # more authorities for https:// sources; default: the system's alone
}
