//! What runs in a desktop tries to get at the host.

use anyhow::{Context as _, Result, ensure};
use e2e::agents::run;

use super::{Scene, Way};

const WHO: &str = "in the desktop";

/// Something to try by a shell, which knows no more programs than the image has; and what it says where the way is barred.
struct Try {
    what: &'static str,
    script: &'static str,
    is_barred: fn(&str) -> bool,
}

/// What a script says that has done what it should not.
const DONE: &str = "it is done";

fn not_done(said: &str) -> bool {
    !said.is_empty() && !said.contains(DONE)
}

const TRIES: [Try; 12] = [
    Try { what: "the host's kernel", script: "cat /proc/version", is_barred: |said| said.contains("-gvisor ") },
    Try {
        what: "the host's programs",
        script: "cat /proc/[0-9]*/comm",
        is_barred: |said| {
            said.contains("steading-agent")
                && !["kubelet", "containerd", "systemd", "runsc"].iter().any(|host| said.contains(host))
        },
    },
    Try {
        what: "the host's devices",
        script: "ls /dev",
        is_barred: |said| {
            let of_host =
                ["sd", "vd", "nvme", "loop", "dm-", "mem", "kmem", "kmsg", "port", "kvm", "uinput", "dri", "mapper"];
            said.contains("null") && !said.split_whitespace().any(|it| of_host.iter().any(|host| it.starts_with(host)))
        },
    },
    Try { what: "a device of its own", script: "mknod /tmp/disk b 254 0 && echo it is done", is_barred: not_done },
    Try {
        what: "a kernel setting",
        script: "echo /tmp/x >/proc/sys/kernel/core_pattern && echo it is done",
        is_barred: not_done,
    },
    Try {
        what: "a control group",
        script: "for file in /sys/fs/cgroup/release_agent /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/cgroup.procs; do (echo 1 >$file) && echo it is done; done",
        is_barred: not_done,
    },
    Try { what: "its own program", script: "echo x >/usr/bin/steading-agent && echo it is done", is_barred: not_done },
    Try {
        what: "a file in the root",
        script: "for file in /x /etc/x /usr/x /var/x; do touch $file && echo it is done; done",
        is_barred: not_done,
    },
    Try {
        what: "programs that lend rights",
        script: "count=0; for file in /bin/* /sbin/* /usr/bin/* /usr/sbin/* /usr/lib/* /usr/lib/*/* /usr/libexec/*; do \
                 count=$((count+1)); if test -u $file || test -g $file && test -f $file; then echo it is done: $file; fi; done; echo none of $count",
        is_barred: not_done,
    },
    Try {
        what: "a capability",
        script: "while read -r name value; do case $name in Cap???:) echo $value;; esac; done </proc/self/status",
        is_barred: |said| said.lines().count() >= 4 && said.lines().all(|line| line.trim_matches('0').is_empty()),
    },
    Try {
        what: "the host's memory",
        script: "for file in /proc/kcore /dev/mem /dev/kmsg; do head -c 1 $file && echo it is done; done",
        is_barred: not_done,
    },
    Try {
        what: "a token but that for the relay",
        script: "ls /var/run/secrets /var/run/secrets/steading",
        is_barred: |said| said.contains("relay") && !said.contains("kubernetes.io") && !said.contains("claim"),
    },
];

/// All of them, in the first desktop.
pub async fn tried(scene: &Scene) -> Result<Vec<Way>> {
    let client = scene.break_glass()?;
    let in_desktop =
        async |script: &str| run(&client, &scene.stack, &scene.desktop(), &["/bin/sh", "-c", script]).await;
    let (said, done) = in_desktop("id -u && cat /proc/1/cmdline | tr '\\0' ' '").await?;
    ensure!(done && said.starts_with("65532") && said.contains("steading-agent"), "nothing can be tried: {said}");
    let host = std::fs::read_to_string("/proc/version").context("this host has no kernel")?;
    let (theirs, _) = in_desktop("cat /proc/version").await?;
    ensure!(theirs.trim() != host.trim(), "the desktop runs on the host's kernel: {theirs}");
    let mut ways = Vec::new();
    for Try { what, script, is_barred } in TRIES {
        let (said, _) = in_desktop(script).await?;
        let said = said.trim();
        ensure!(!said.contains("not found"), "{what}: the image lacks what this is tried with: {said}");
        let came: String = said.replace('\n', "; ").chars().take(160).collect();
        ways.push(Way { who: WHO, what, came, is_barred: is_barred(said) });
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
