# What is seen of it from outside.

output "names" {
  description = "The names of its servers"
  value       = server.web[*].name
}

output "hosts" {
  description = "Where they run"
  value       = server.web[*].host
}
