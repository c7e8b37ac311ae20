//! What each package has in it.

/// Who answers for the packages.
pub const MAINTAINER: &str = "The Forebay project <packages@forebay.invalid>";

/// The licence, in the form that Debian reads.
pub const COPYRIGHT: &str = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
Upstream-Name: forebay\n\nFiles: *\nCopyright: The Forebay project\nLicense: Apache-2.0\n \
On Debian systems the text of the Apache License, version 2.0, is in /usr/share/common-licenses/Apache-2.0.\n";

/// Where the bytes of a file come from.
pub enum Content {
    /// A file of the repository.
    File(&'static str),
    /// What the package's program prints when it is given these arguments.
    Said(&'static [&'static str]),
}

/// Which manual pages a program writes.
#[derive(Clone, Copy)]
pub enum Pages {
    /// One, to its standard output, for `man`.
    One,
    /// One for each command, to a folder, for `man --folder`.
    Each,
}

/// A package.
pub struct Package {
    /// Its name, which is that of its program.
    pub name: &'static str,
    /// The package of the workspace that has the program.
    pub built_by: &'static str,
    /// Packages that it needs beside libraries.
    pub needs: &'static str,
    /// A line, and further ones that begin with a space.
    pub description: &'static str,
    /// Files: from where, where to, with which mode.
    pub files: &'static [(Content, &'static str, u32)],
    /// Which of them are its owner's to change.
    pub settings: &'static [&'static str],
    pub pages: Pages,
    /// Scripts that dpkg runs.
    pub scripts: &'static [&'static str],
}

/// Users are made by what systemd brings, or by the same program alone.
const USERS: &str = "systemd | systemd-standalone-sysusers";
//= PACK-PURGE-01
const SCRIPTS: &[&str] = &["postinst", "prerm", "postrm"];

pub const PACKAGES: &[Package] = &[
    Package {
        name: "forebay-se",
        built_by: "forebay-host-uring",
        needs: USERS,
        description: "service engine of the Forebay load balancer\n \
            It carries the traffic of virtual services: HTTP, TLS, TCP and UDP, with\n \
            tables of persistence that engines keep equal among themselves. It works\n \
            by a file, or by what a Controller says (forebay-controller).\n .\n \
            Installing starts nothing: edit /etc/forebay/se.toml, then\n \
            systemctl enable --now forebay-se.",
        files: &[
            (
                Content::File("packaging/forebay-se.service"),
                "usr/lib/systemd/system/forebay-se.service",
                0o644,
            ),
            (Content::File("packaging/forebay-se/sysusers"), "usr/lib/sysusers.d/forebay-se.conf", 0o644),
            (Content::File("packaging/forebay-se/se.toml"), "etc/forebay/se.toml", 0o640),
            (Content::File("docs/examples/se.toml"), "usr/share/doc/forebay-se/examples/se.toml", 0o644),
            (Content::File("docs/examples/tls.toml"), "usr/share/doc/forebay-se/examples/tls.toml", 0o644),
            (
                Content::Said(&["completions", "bash"]),
                "usr/share/bash-completion/completions/forebay-se",
                0o644,
            ),
            (Content::Said(&["completions", "zsh"]), "usr/share/zsh/vendor-completions/_forebay-se", 0o644),
            (
                Content::Said(&["completions", "fish"]),
                "usr/share/fish/vendor_completions.d/forebay-se.fish",
                0o644,
            ),
        ],
        settings: &["/etc/forebay/se.toml"],
        pages: Pages::Each,
        scripts: SCRIPTS,
    },
    Package {
        name: "forebay-controller",
        built_by: "forebay-controller",
        needs: USERS,
        description: "Controller of the Forebay load balancer\n \
            It keeps virtual services, pools and all other objects, serves Avi's REST\n \
            API for them, and says to service engines (forebay-se) what to do. Engines\n \
            serve on while it is away.\n .\n \
            Installing starts nothing: systemctl enable --now forebay-controller, then\n \
            sudo -u forebay-controller forebay-controller password reset --local.",
        files: &[
            (
                Content::File("packaging/forebay-controller.service"),
                "usr/lib/systemd/system/forebay-controller.service",
                0o644,
            ),
            (
                Content::File("packaging/forebay-controller/sysusers"),
                "usr/lib/sysusers.d/forebay-controller.conf",
                0o644,
            ),
            (
                Content::Said(&["completions", "bash"]),
                "usr/share/bash-completion/completions/forebay-controller",
                0o644,
            ),
            (
                Content::Said(&["completions", "zsh"]),
                "usr/share/zsh/vendor-completions/_forebay-controller",
                0o644,
            ),
            (
                Content::Said(&["completions", "fish"]),
                "usr/share/fish/vendor_completions.d/forebay-controller.fish",
                0o644,
            ),
        ],
        settings: &[],
        pages: Pages::One,
        scripts: SCRIPTS,
    },
    Package {
        name: "forebay",
        built_by: "forebay",
        needs: "",
        description: "command line of the Forebay load balancer\n \
            Objects of a Controller by name and by file, the Avi shell, and forebay up,\n \
            which runs a Controller, two service engines and demo servers on this\n \
            machine.",
        files: &[
            (Content::Said(&["completions", "bash"]), "usr/share/bash-completion/completions/forebay", 0o644),
            (Content::Said(&["completions", "zsh"]), "usr/share/zsh/vendor-completions/_forebay", 0o644),
            (
                Content::Said(&["completions", "fish"]),
                "usr/share/fish/vendor_completions.d/forebay.fish",
                0o644,
            ),
        ],
        settings: &[],
        pages: Pages::One,
        scripts: &[],
    },
];
