//! The statistics that a context gathers (ISO/IEC 14495-1 §A.6, §A.7.2).

/// Bounds of the bias correction (§A.2.1).
const C_MIN: i32 = -128;
const C_MAX: i32 = 127;
/// Largest k: errors have 16 bits.
const K_MAX: u32 = 18;

/// A context of the regular mode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    a: i32,
    b: i32,
    pub(super) c: i32,
    n: i32,
}

impl Context {
    pub(super) const fn new(a: i32) -> Self {
        Self { a, b: 0, c: 0, n: 1 }
    }

    pub(super) fn k(&self) -> u32 {
        golomb_k(self.n, self.a)
    }

    /// §A.5.2, undone.
    pub(super) const fn unmapped(&self, k: u32, mapped: i32) -> i32 {
        let half = mapped >> 1;
        let is_odd = mapped & 1 == 1;
        match (k == 0 && 2 * self.b <= -self.n, is_odd) {
            (true, true) | (false, false) => half,
            (true, false) | (false, true) => -half - 1,
        }
    }

    /// §A.6.
    pub(super) fn update(&mut self, error: i32, reset: i32) {
        self.b += error;
        self.a = self.a.saturating_add(error.abs());
        if self.n == reset {
            self.a >>= 1;
            self.b >>= 1;
            self.n >>= 1;
        }
        self.n += 1;
        if self.b <= -self.n {
            self.b += self.n;
            self.c = (self.c - 1).max(C_MIN);
            self.b = self.b.max(1 - self.n);
        } else if self.b > 0 {
            self.b -= self.n;
            self.c = (self.c + 1).min(C_MAX);
            self.b = self.b.min(0);
        }
    }
}

/// A context of the run interruption: 0, the neighbours differ; 1, they do not.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunContext {
    kind: i32,
    a: i32,
    n: i32,
    negative: i32,
}

impl RunContext {
    pub(super) const fn new(kind: i32, a: i32) -> Self {
        Self {
            kind,
            a,
            n: 1,
            negative: 0,
        }
    }

    pub(super) fn k(&self) -> u32 {
        golomb_k(self.n, self.a.saturating_add(self.kind * (self.n >> 1)))
    }

    /// §A.7.2.2, undone.
    pub(super) const fn unmapped(&self, k: u32, mapped: i32) -> i32 {
        let doubled = mapped + self.kind;
        let is_mapped = doubled & 1 == 1;
        let size = (doubled + 1) >> 1;
        if (k != 0 || 2 * self.negative >= self.n) == is_mapped {
            -size
        } else {
            size
        }
    }

    /// §A.7.2.2.
    pub(super) const fn update(&mut self, error: i32, mapped: i32, reset: i32) {
        if error < 0 {
            self.negative += 1;
        }
        self.a = self.a.saturating_add((mapped + 1 - self.kind) >> 1);
        if self.n == reset {
            self.a >>= 1;
            self.n >>= 1;
            self.negative >>= 1;
        }
        self.n += 1;
    }
}

/// The smallest k with N·2^k >= A (§A.5.1).
fn golomb_k(n: i32, a: i32) -> u32 {
    let (n, a) = (i64::from(n), i64::from(a));
    // An A that large only a broken stream makes.
    (0..K_MAX).find(|k| n << k >= a).unwrap_or(K_MAX)
}
