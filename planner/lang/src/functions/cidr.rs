//! Calculations with IP networks, as Terraform's.

use super::{Call, Function, FunctionError, Outcome, Want};
use crate::value::Value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) const TABLE: &[Function] = &[
    Function::new(
        "cidrhost",
        &[("prefix", Want::Text), ("hostnum", Want::Number)],
        Want::Text,
        cidrhost,
    ),
    Function::new("cidrnetmask", &[("prefix", Want::Text)], Want::Text, cidrnetmask),
    Function::new(
        "cidrsubnet",
        &[
            ("prefix", Want::Text),
            ("newbits", Want::Number),
            ("netnum", Want::Number),
        ],
        Want::Text,
        cidrsubnet,
    ),
    Function::new("cidrsubnets", &[("prefix", Want::Text)], Want::Texts, cidrsubnets)
        .variadic("newbits", Want::Number),
];

/// A network; the address is the lowest in it, in the low bits.
#[derive(Clone, Copy)]
struct Network {
    bits: u32,
    address: u128,
    length: u32,
}

fn mask(bits: u32, length: u32) -> u128 {
    let host = bits - length;
    let all = u128::MAX >> (128 - bits);
    all & u128::MAX.checked_shl(host).unwrap_or(0)
}

impl Network {
    fn read(text: &str) -> Result<Self, FunctionError> {
        let bad = || {
            FunctionError::in_argument(
                0,
                format!("{text:?} is no network; write for example 10.0.0.0/8 or fd00::/8"),
            )
        };
        let (address, length) = text.split_once('/').ok_or_else(bad)?;
        let (bits, address) = match address.parse::<IpAddr>().map_err(|_| bad())? {
            IpAddr::V4(address) => (32, u128::from(u32::from(address))),
            IpAddr::V6(address) => (128, u128::from(address)),
        };
        let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let length: u32 = length
            .parse()
            .ok()
            .filter(|length| digits && *length <= bits)
            .ok_or_else(bad)?;
        Ok(Self {
            bits,
            address: address & mask(bits, length),
            length,
        })
    }

    fn show(&self, address: u128) -> String {
        if self.bits == 32 {
            Ipv4Addr::from(u32::try_from(address & u128::from(u32::MAX)).expect("masked to 32 bits"))
                .to_string()
        } else {
            Ipv6Addr::from(address).to_string()
        }
    }
}

/// The largest number of so many bits.
fn largest(bits: u32) -> u128 {
    u128::MAX.checked_shr(128 - bits).unwrap_or(0)
}

fn whole(call: &Call<'_>, at: usize) -> Result<i128, FunctionError> {
    let text = call.number(at).to_string();
    text.parse().map_err(|_| {
        FunctionError::in_argument(at, format!("a whole number is required, but this is {text}"))
    })
}

fn cidrhost(call: &mut Call<'_>) -> Outcome {
    let network = Network::read(call.text(0))?;
    let number = whole(call, 1)?;
    let last = largest(network.bits - network.length);
    // -1 is the last address of the network.
    let offset = if number < 0 {
        last.checked_sub(number.unsigned_abs() - 1)
    } else {
        Some(number.unsigned_abs()).filter(|number| *number <= last)
    };
    let offset = offset.ok_or_else(|| {
        let message = format!(
            "a network with a prefix of {} bits has no host number {number}",
            network.length
        );
        FunctionError::in_argument(1, message)
    })?;
    Ok(Value::from(network.show(network.address | offset)))
}

fn cidrnetmask(call: &mut Call<'_>) -> Outcome {
    let network = Network::read(call.text(0))?;
    if network.bits == 128 {
        return Err(FunctionError::in_argument(0, "only IPv4 networks have a netmask"));
    }
    Ok(Value::from(network.show(mask(network.bits, network.length))))
}

fn subnet_length(network: &Network, call: &Call<'_>, at: usize) -> Result<u32, FunctionError> {
    let added = whole(call, at)?;
    let length = u32::try_from(added)
        .ok()
        .and_then(|added| network.length.checked_add(added));
    length.filter(|length| *length <= network.bits).ok_or_else(|| {
        let message = format!(
            "{added} more bits do not fit behind a prefix of {} bits",
            network.length
        );
        FunctionError::in_argument(at, message)
    })
}

fn cidrsubnet(call: &mut Call<'_>) -> Outcome {
    let network = Network::read(call.text(0))?;
    let length = subnet_length(&network, call, 1)?;
    let number = whole(call, 2)?;
    let room = largest(length - network.length);
    let number = u128::try_from(number)
        .ok()
        .filter(|number| *number <= room)
        .ok_or_else(|| {
            FunctionError::in_argument(
                2,
                format!(
                    "{} more bits have no network number {number}",
                    length - network.length
                ),
            )
        })?;
    let offset = number.checked_shl(network.bits - length).unwrap_or(0);
    Ok(Value::from(format!(
        "{}/{length}",
        network.show(network.address | offset)
    )))
}

fn cidrsubnets(call: &mut Call<'_>) -> Outcome {
    let network = Network::read(call.text(0))?;
    let end = network.address | largest(network.bits - network.length);
    let mut next = Some(network.address);
    let mut found = Vec::new();
    for at in 1..call.arguments.len() {
        let length = subnet_length(&network, call, at)?;
        let inside = largest(network.bits - length);
        let full = || FunctionError::in_argument(at, "there is no room left for this network");
        let start = next.ok_or_else(full)?;
        let start = start.checked_add(inside).ok_or_else(full)? & mask(network.bits, length);
        let last = start | inside;
        if last > end || start < network.address {
            return Err(full());
        }
        found.push(Value::from(format!("{}/{length}", network.show(start))));
        next = last.checked_add(1);
    }
    Ok(Value::list(found))
}
