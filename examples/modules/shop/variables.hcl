# What a shop needs from outside. Blocks such as flavors and images are given as they are.

variable "flavor" {
  description = "The size of its servers: a flavor"
}

variable "image" {
  description = "What they run: an image"
}

variable "zone" {
  type        = string
  description = "The availability zone it is in"
}

variable "servers" {
  type        = number
  description = "How many servers it has"
  default     = 1

  validation {
    condition     = var.servers >= 1
    error_message = "A shop needs a server."
  }
}
