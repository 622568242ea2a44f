//! How full hosts are, and how unevenly: sums that one move changes in constant time.

use super::Shares;

/// Memory, disk and processors.
pub(super) type Amount = [f64; 3];

/// What hosts have promised, and may.
#[derive(Debug, Clone)]
pub(super) struct Load {
    used: Vec<Amount>,
    /// At the ratios.
    limit: Vec<Amount>,
    /// Of the shares of all hosts.
    sum: Amount,
    squares: Amount,
}

impl Load {
    pub(super) fn new(used: Vec<Amount>, limit: Vec<Amount>) -> Self {
        let mut load = Self {
            used,
            limit,
            sum: [0.0; 3],
            squares: [0.0; 3],
        };
        for host in 0..load.used.len() {
            for of in 0..3 {
                let share = load.share(host, of, 0.0);
                load.sum[of] += share;
                load.squares[of] += share * share;
            }
        }
        load
    }

    /// In percent; of what a host does not have at all nothing is promised.
    fn share(&self, host: usize, of: usize, more: f64) -> f64 {
        let limit = self.limit[host][of];
        if limit > 0.0 {
            (self.used[host][of] + more) / limit * 100.0
        } else {
            0.0
        }
    }

    pub(super) fn shares(&self, host: usize) -> Shares {
        Shares {
            ram: rounded(self.share(host, 0, 0.0)),
            disk: rounded(self.share(host, 1, 0.0)),
            vcpus: rounded(self.share(host, 2, 0.0)),
        }
    }

    /// The share of the resource of which the host has promised most.
    pub(super) fn fullest(&self, host: usize) -> f64 {
        (0..3).map(|of| self.share(host, of, 0.0)).fold(0.0, f64::max)
    }

    pub(super) fn one(&self, host: usize, of: usize) -> f64 {
        self.share(host, of, 0.0)
    }

    pub(super) fn imbalance(&self) -> f64 {
        self.of(&self.sum, &self.squares)
    }

    fn of(&self, sum: &Amount, squares: &Amount) -> f64 {
        let count = (self.used.len() as f64).max(1.0);
        (0..3)
            .map(|of| {
                let mean = sum[of] / count;
                (squares[of] / count - mean * mean).max(0.0).sqrt()
            })
            .sum()
    }

    /// The imbalance if a server of this size went from one host to the other.
    pub(super) fn imbalance_if(&self, size: &Amount, from: usize, to: usize) -> f64 {
        let (sum, squares) = self.sums_if(size, from, to);
        self.of(&sum, &squares)
    }

    fn sums_if(&self, size: &Amount, from: usize, to: usize) -> (Amount, Amount) {
        let (mut sum, mut squares) = (self.sum, self.squares);
        if from == to {
            return (sum, squares);
        }
        for (of, amount) in size.iter().enumerate() {
            let (gave, took) = (self.share(from, of, 0.0), self.share(to, of, 0.0));
            let (gives, takes) = (self.share(from, of, -amount), self.share(to, of, *amount));
            sum[of] += gives - gave + takes - took;
            squares[of] += gives * gives - gave * gave + takes * takes - took * took;
        }
        (sum, squares)
    }

    pub(super) fn shift(&mut self, size: &Amount, from: usize, to: usize) {
        (self.sum, self.squares) = self.sums_if(size, from, to);
        for (of, amount) in size.iter().enumerate() {
            self.used[from][of] -= amount;
            self.used[to][of] += amount;
        }
    }

    /// Whether the host may promise this much more; what it may is `asked` for by filters or not.
    pub(super) fn holds(&self, host: usize, size: &Amount, asked: [bool; 3]) -> bool {
        (0..3).all(|of| !asked[of] || self.used[host][of] + size[of] <= self.limit[host][of])
    }
}

/// To two decimals.
pub(super) fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
