//! What runs in a desktop tries to get at the host.

use anyhow::{Context as _, Result, ensure};
use e2e::agents::run;

use super::{Scene, Way};

const WHO: &str = "in the desktop";

/// What is tried, by a shell in the desktop; it succeeds, or says something, if the way is open.
const SCRIPTS: [(&str, &str); 12] = [
    ("the host's kernel", "grep -v '^Linux version 4.4.0 ' /proc/version"),
    ("the host's programs", "cat /proc/[0-9]*/comm | grep -E '^(kubelet|containerd|systemd|runsc|init)'"),
    ("the host's disks", "ls /dev | grep -E '^(sd|vd|nvme|loop|dm-|mem$|kmem$|port$|kvm$|fuse$|uinput$)'"),
    ("a device of its own", "mknod /tmp/disk b 254 0"),
    ("a kernel setting", "echo /tmp/x 2>/dev/null >/proc/sys/kernel/core_pattern"),
    (
        "its control group",
        "for file in $(find /sys/fs/cgroup -name release_agent -o -name cgroup.procs); do echo 1 2>/dev/null >$file && exit 0; done; exit 1",
    ),
    ("a program of the image", "echo x 2>/dev/null >/usr/bin/steading-agent"),
    ("a file in the root", "touch /x /etc/x /usr/x 2>/dev/null"),
    ("programs that lend rights", "find / -xdev -type f -perm /6000 2>/dev/null | grep ."),
    ("a capability", "grep -E '^Cap(Prm|Eff|Bnd|Amb):' /proc/self/status | grep -v 0000000000000000"),
    ("new rights", "grep '^NoNewPrivs:' /proc/self/status | grep -v 1"),
    (
        "a token but that for the relay",
        "find / -xdev \\( -name token -o -name '*.kubeconfig' \\) 2>/dev/null; ls /var/run/secrets/kubernetes.io 2>/dev/null",
    ),
];

/// All of them, in the first desktop.
pub async fn tried(scene: &Scene) -> Result<Vec<Way>> {
    let client = scene.plane.admin()?;
    let in_desktop =
        async |script: &str| run(&client, &scene.stack, &scene.desktop(), &["/bin/sh", "-c", script]).await;
    let (said, done) = in_desktop("id -u && cat /proc/1/cmdline | tr '\\0' ' '").await?;
    ensure!(done && said.starts_with("65532") && said.contains("steading-agent"), "nothing can be tried: {said}");
    let host = std::fs::read_to_string("/proc/version").context("this host has no kernel")?;
    let (theirs, _) = in_desktop("cat /proc/version").await?;
    ensure!(theirs.trim() != host.trim(), "the desktop runs on the host's kernel: {theirs}");
    println!("sandbox: the desktop's kernel: {}; the host's: {}", theirs.trim(), host.trim());
    let mut ways = Vec::new();
    for (what, script) in SCRIPTS {
        let (said, done) = in_desktop(script).await?;
        let came = if said.trim().is_empty() { "nothing".to_owned() } else { said.trim().replace('\n', "; ") };
        ways.push(Way { who: WHO, what, came: came.chars().take(160).collect(), is_barred: !done });
    }
    ways.push(token_at_the_api_server(scene, &in_desktop("cat /var/run/secrets/steading/relay/token").await?.0).await?);
    Ok(ways)
}

/// Its one token, which is for the relay.
async fn token_at_the_api_server(scene: &Scene, token: &str) -> Result<Way> {
    ensure!(token.trim().split('.').count() == 3, "the desktop has no token");
    let identity = e2e::plane::Identity::Token(token.trim().to_owned().into());
    let client = scene.plane.client(&identity)?;
    let answer = client.apiserver_version().await;
    let (came, is_barred) = match answer {
        Ok(_) => ("was taken".to_owned(), false),
        Err(kube::Error::Api(status)) => (format!("{} {}", status.code, status.message), status.code == 401),
        Err(error) => (error.to_string(), false),
    };
    Ok(Way { who: WHO, what: "its token at the API server", came, is_barred })
}
