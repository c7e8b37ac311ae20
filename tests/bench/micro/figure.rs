//! One measured number, printed for people and for programs.

/// A figure: what, how much, of which unit.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Name, in words joined by underscores.
    pub name: String,
    /// The number.
    pub value: f64,
    /// Its unit: `ns`, `bytes`, `ratio` …
    pub unit: &'static str,
}

/// Collects figures and prints each at once: a human line on standard error, a JSON line on standard output.
#[derive(Default)]
pub struct Report {
    scene: String,
}

impl Report {
    /// A report of the figures of one scene.
    pub fn new(scene: &str) -> Self {
        Self { scene: scene.to_owned() }
    }

    /// Prints a figure.
    pub fn put(&self, name: &str, value: f64, unit: &'static str) {
        let scene = &self.scene;
        println!(r#"{{"scene":"{scene}","name":"{name}","value":{value:.4},"unit":"{unit}"}}"#);
        eprintln!("{scene:<14} {name:<44} {value:>14.3} {unit}");
    }
}

/// The middle of the values; of an even number the higher of the two in the middle.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
