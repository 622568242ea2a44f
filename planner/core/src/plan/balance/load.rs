//! How full hosts are, and how unevenly: sums that one move changes in constant time.

use super::Shares;

/// Memory, disk and processors.
pub(super) type Amount = [f64; 3];

/// What one host's giving or taking does to the sums.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    sum: Amount,
    squares: Amount,
}

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
        let part = 1.0 / (self.used.len() as f64).max(1.0);
        (0..3)
            .map(|of| {
                let mean = sum[of] * part;
                (squares[of] * part - mean * mean).max(0.0).sqrt()
            })
            .sum()
    }

    /// The imbalance if a server of this size went from one host to the other.
    pub(super) fn imbalance_if(&self, size: &Amount, from: usize, to: usize) -> f64 {
        let (sum, squares) = self.sums_if(size, from, to);
        self.of(&sum, &squares)
    }

    fn sums_if(&self, size: &Amount, from: usize, to: usize) -> (Amount, Amount) {
        if from == to {
            return (self.sum, self.squares);
        }
        self.sums_with(&self.gives(from, size), &self.takes(to, size))
    }

    fn sums_with(&self, gives: &Change, takes: &Change) -> (Amount, Amount) {
        let both = |sums: &Amount, one: &Amount, other: &Amount| {
            std::array::from_fn(|of| sums[of] + one[of] + other[of])
        };
        (
            both(&self.sum, &gives.sum, &takes.sum),
            both(&self.squares, &gives.squares, &takes.squares),
        )
    }

    /// The imbalance if one host gave what another took.
    pub(super) fn imbalance_with(&self, gives: &Change, takes: &Change) -> f64 {
        let (sum, squares) = self.sums_with(gives, takes);
        self.of(&sum, &squares)
    }

    /// What it does to the sums that a server of this size leaves the host.
    pub(super) fn gives(&self, host: usize, size: &Amount) -> Change {
        self.change(host, &size.map(|amount| -amount))
    }

    /// What it does to the sums that a server of this size comes to the host.
    pub(super) fn takes(&self, host: usize, size: &Amount) -> Change {
        self.change(host, size)
    }

    fn change(&self, host: usize, more: &Amount) -> Change {
        let before: Amount = std::array::from_fn(|of| self.share(host, of, 0.0));
        let after: Amount = std::array::from_fn(|of| self.share(host, of, more[of]));
        Change {
            sum: std::array::from_fn(|of| after[of] - before[of]),
            squares: std::array::from_fn(|of| after[of] * after[of] - before[of] * before[of]),
        }
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
