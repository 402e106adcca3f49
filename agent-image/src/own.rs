//! The files of the image that are ours. In: the folder `root`. Out: each by its path, and the environment in which all of it runs.

use std::collections::BTreeMap;

use image::File;

/// Variables that every program in the image sees.
pub(crate) const ENVIRONMENT: [(&str, &str); 8] = [
    ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/agent/user/bus"),
    ("DISPLAY", ":0"),
    // Nothing keeps settings, so no service is started for them.
    ("GSETTINGS_BACKEND", "memory"),
    ("HOME", "/home/agent"),
    ("LANG", "C.UTF-8"),
    ("OMP_THREAD_LIMIT", "1"), // what reads text is slower with more threads than cores
    ("PATH", "/usr/bin:/usr/sbin"),
    ("XDG_RUNTIME_DIR", "/run/agent/user"),
];

/// Each path with permissions and content.
const FILES: [(&str, u32, &str); 6] = [
    ("usr/bin/desktop", 0o755, include_str!("../root/usr/bin/desktop")),
    // In place of the one that comes with the package.
    ("usr/bin/chromium", 0o755, include_str!("../root/usr/bin/chromium")),
    (
        "etc/chromium/policies/managed/steading.json",
        0o644,
        include_str!("../root/etc/chromium/policies/managed/steading.json"),
    ),
    ("etc/xdg/openbox/rc.xml", 0o644, include_str!("../root/etc/xdg/openbox/rc.xml")),
    ("etc/passwd", 0o644, "root:x:0:0::/:/usr/sbin/nologin\nagent:x:65532:65532::/home/agent:/usr/bin/dash\n"),
    ("etc/group", 0o644, "root:x:0:\nagent:x:65532:\n"),
];

/// All of them.
pub(crate) fn files() -> BTreeMap<String, File> {
    let own = FILES.map(|(path, mode, content)| (path.to_owned(), File { mode, content: content.as_bytes().to_vec() }));
    let roots = File { mode: 0o644, content: image::authorities().into_bytes() };
    own.into_iter().chain([("etc/ssl/certs/ca-certificates.crt".to_owned(), roots)]).collect()
}
