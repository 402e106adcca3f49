# Packs Debian packages into one archive, an image's layer, without installing them: nothing of them runs but Python's compiler. In: the
# archive to make, an empty directory to work in, the release, and the packages; what these depend on comes along. Out: the archive.
# Whoever packs need not run Debian: apt has a configuration, lists and a status of its own here.
set -eu
archive=$1 work=$2 release=$3
shift 3
keys=/usr/share/keyrings/debian-archive-keyring.gpg
root=$work/root
mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/packages" "$root"
: >"$work/status"

cat >"$work/sources.list" <<SOURCES
deb [signed-by=$keys] http://deb.debian.org/debian $release main
deb [signed-by=$keys] http://deb.debian.org/debian $release-updates main
deb [signed-by=$keys] http://deb.debian.org/debian-security $release-security main
SOURCES
cat >"$work/apt.conf" <<SETTINGS
Dir::State::lists "$work/lists";
Dir::State::status "$work/status";
Dir::Cache "$work";
Dir::Cache::archives "$work/archives";
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::preferences "/dev/null";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "3";
SETTINGS
export APT_CONFIG="$work/apt.conf"

# Needed for installing, for administering by hand, or for compiling queries while they run; none of it happens in a pod.
unneeded='adduser|base-passwd|debconf|debianutils|dpkg|init-system-helpers|libc-l10n|libdb5.*|libdebconfclient0|libgdbm.*|libio-.*'
unneeded="$unneeded|libipc-.*|libjson-.*|libllvm.*|libpam-.*|libperl.*|libproc2.*|libsemanage.*|libsepol.*|libtext-.*|libz3-.*|locales"
unneeded="$unneeded|login.defs|media-types|netbase|openssl|openssl-provider-legacy|passwd|perl.*|postgresql-.*common.*|procps|rsync"
unneeded="$unneeded|python3-(autocommand|chardet|inflect|jaraco.*|more-itertools|pkg-resources|setuptools|typeguard|typing-extensions|zipp)"
unneeded="$unneeded|sensible-utils|ssl-cert|sysvinit-utils|tar|ucf"

echo "asking for packages of $release"
apt-get -qq update
apt-get -qq --print-uris install "$@" | cut -d ' ' -f 2 | cut -d _ -f 1 | grep -Evx "$unneeded" >"$work/names"
echo "downloading $(wc -l <"$work/names") packages"
(cd "$work/packages" && xargs apt-get -qq download <"$work/names")

echo "unpacking them"
for package in "$work"/packages/*.deb; do
  # Directories such as /lib are links, through which later packages unpack.
  dpkg-deb --fsys-tarfile "$package" | tar -x --directory "$root" --keep-directory-symlink
done
cd "$root/usr"
# Python reads a list of authorities each time it starts, and must find one. The store's is named where the store is.
set -- share/ca-certificates/mozilla/*.crt
cp "$1" "$work/authorities"
rm -rf share/doc share/man share/locale share/lintian share/info share/bash-completion share/ca-certificates share/i18n
rm -rf lib/postgresql/*/lib/bitcode lib/postgresql/*/lib/llvmjit* share/postgresql/*/man
# Of all the services that a cloud has, archives need the store and identities.
find lib/python3/dist-packages/botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name sts -exec rm -rf {} +
for program in lib/postgresql/*/bin/*; do ln -sf "../$program" "bin/${program##*/}"; done

# What installing them would have left.
cd "$root"
mkdir -p etc/ssl/certs tmp run proc dev sys
chmod 1777 tmp
mv "$work/authorities" etc/ssl/certs/ca-certificates.crt
printf 'root:x:0:0::/root:/bin/sh\npostgres:x:26:26::/var/lib/postgresql:/bin/sh\n' >etc/passwd
printf 'root:x:0:\npostgres:x:26:\n' >etc/group
# All that barman uses of a package which takes a third of its start.
mkdir usr/lib/python3/dist-packages/distutils
: >usr/lib/python3/dist-packages/distutils/__init__.py
cat >usr/lib/python3/dist-packages/distutils/version.py <<'PYTHON'
import functools, re


class Version:
    pass


@functools.total_ordering
class LooseVersion(Version):
    def __init__(self, text):
        self.text = text
        self.numbers = [int(number) for number in re.findall("[0-9]+", text)]

    def __str__(self):
        return self.text

    def __eq__(self, other):
        return self.numbers == other.numbers

    def __lt__(self, other):
        return self.numbers < other.numbers
PYTHON
# Programs are started often and cannot keep what they compile: the file system of a pod is read-only. No times, as they all change.
for folder in usr/lib/python3*; do
  chroot . /usr/bin/env PYTHONHASHSEED=0 python3 -m compileall -q --invalidation-mode unchecked-hash "/$folder"
done

echo "packing them"
tar --sort=name --mtime=@0 --numeric-owner --directory "$root" --create --file "$archive" .
