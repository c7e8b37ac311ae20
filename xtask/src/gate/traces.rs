//! What a run leaves in the repository: nothing. A test that writes beside the sources changes what the next one sees,
//! and ends up in somebody's commit.

use std::path::Path;
use std::process::Command;

use super::report::Outcome;

/// The name under which the table shows it.
pub const NAME: &str = "tree";

/// The tree as git sees it, or why git cannot say.
pub struct Tree(Result<String, String>);

impl Tree {
    pub fn look(root: &Path) -> Self {
        let mut git = Command::new("git");
        // In its own optional lock git would write into the tree that it looks at.
        git.args(["--no-optional-locks", "status", "--porcelain", "--untracked-files=all"]).current_dir(root);
        Tree(match git.output() {
            Err(error) => Err(format!("git cannot be started: {error}")),
            Ok(done) if !done.status.success() => {
                let said = String::from_utf8_lossy(&done.stderr);
                Err(format!("git: {}", said.lines().next().unwrap_or("failed without a word")))
            }
            Ok(done) => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
        })
    }

    /// Compares with the tree after the run. What was changed before counts only if its state in git changed.
    pub fn compare(&self, after: &Tree) -> Outcome {
        let (before, after) = match (&self.0, &after.0) {
            (Ok(before), Ok(after)) => (before, after),
            (Err(why), _) | (_, Err(why)) => {
                let skipped = vec![("the run leaves the tree as it was".to_owned(), why.clone())];
                return Outcome { skipped, ..Outcome::default() };
            }
        };
        let red = new(after, before).chain(new(before, after).map(|l| format!("no longer:{l}")));
        let red: Vec<String> = red.collect();
        for line in &red {
            println!(
                "  problem: {line}: changed in the tree while the gate ran; if it was not you, a test writes there"
            );
        }
        let files = after.lines().count();
        Outcome { looked_at: Some((files, "changed files")), problems: red.len(), red, ..Outcome::default() }
    }
}

/// The lines of `there` that `here` lacks.
fn new<'a>(there: &'a str, here: &'a str) -> impl Iterator<Item = String> + 'a {
    there.lines().filter(move |line| !here.lines().any(|l| l == *line)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(folder: &Path, args: &[&str]) {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"];
        let done = Command::new("git").args(identity).args(args).current_dir(folder).output().unwrap();
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("forebay-xtask-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("docs")).unwrap();
        folder
    }

    #[test]
    fn a_run_that_leaves_a_file_or_changes_one_is_red_and_what_was_there_before_is_not() {
        if crate::tool::process::find("git").is_none() {
            // The gate itself says so too, and a bare machine may do without.
            let line = "gate::traces::tests::a_run_that_leaves_a_file_or_changes_one_is_red_and_what_was_there_before_is_not: no git\n";
            let file = std::env::var_os("FOREBAY_SKIPS")
                .map(|f| std::fs::File::options().append(true).create(true).open(f));
            return file.map_or((), |f| std::io::Write::write_all(&mut f.unwrap(), line.as_bytes()).unwrap());
        }
        let root = folder("traces");
        std::fs::write(root.join("docs/kept"), "as it was").unwrap();
        std::fs::write(root.join(".gitignore"), "/target\n").unwrap();
        git(&root, &["init", "-q"]);
        git(&root, &["add", "."]);
        git(&root, &["commit", "-qm", "first"]);
        std::fs::write(root.join("draft"), "somebody's own, from before").unwrap();
        let before = Tree::look(&root);

        std::fs::create_dir(root.join("target")).unwrap();
        std::fs::write(root.join("target/built"), "ignored").unwrap();
        let clean = before.compare(&Tree::look(&root));
        assert!(clean.good() && clean.skipped.is_empty(), "{:?}", clean.red);

        std::fs::write(root.join("docs/kept"), "changed").unwrap();
        std::fs::write(root.join("docs/access.log"), "{}").unwrap();
        std::fs::remove_file(root.join("draft")).unwrap();
        let left = before.compare(&Tree::look(&root));
        assert_eq!(left.red, [" M docs/kept", "?? docs/access.log", "no longer:?? draft"]);
        assert!(!left.good());
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn where_there_is_no_repository_it_is_skipped_with_the_reason() {
        let root = folder("no-git");
        let outcome = Tree::look(&root).compare(&Tree::look(&root));
        assert!(outcome.good());
        assert!(outcome.skipped[0].1.contains("git"), "{:?}", outcome.skipped);
        std::fs::remove_dir_all(root).unwrap();
    }
}
