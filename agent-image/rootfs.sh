# Turns packages of Debian into the folder that the desktop's image is packed from, without installing them: no script of a package runs.
# What those scripts would have left and programs look for is made here. In: the folder to make, and the packages. Whoever runs it need
# not run Debian; it needs dpkg-deb, tar and chroot.
set -eu
root=$1
shift
mkdir "$root"
umask 022

for package in "$@"; do
  # Directories such as /lib are links, through which later packages unpack.
  dpkg-deb --fsys-tarfile "$package" | tar -x --no-same-owner --directory "$root" --keep-directory-symlink
done
cd "$root"

# Notices stay: the SBOM is made of them, and whoever passes the image on has to pass them on.
find usr/share/doc -type f ! -name copyright -delete
# Some packages share the notice of another by a link to its folder.
find usr/share/doc -type l ! -name copyright ! -xtype d -delete
find usr/share/doc -depth -type d -empty -delete
for folder in bash-completion bug doc-base gcc gdb info lintian locale man menu perl5 pkgconfig zsh; do rm -rf "usr/share/$folder"; done
rm -rf etc/init.d etc/cron.d etc/cron.daily etc/default etc/pam.d etc/skel etc/update-motd.d etc/X11/Xsession.d etc/chromium.d
rm -rf usr/lib/systemd usr/lib/udev usr/lib/tmpfiles.d usr/lib/sysusers.d usr/lib/pcrlock.d
rm -rf var/lib/dpkg var/cache/debconf

# Tools to train what reads text, which come with it.
find usr/bin \( -name '*training' -o -name '*unicharset*' -o -name '*dawg*' -o -name '*wordlist*' \) -delete
for program in ambiguous_words classifier_tester combine_lang_model combine_tessdata lstmeval shapeclustering text2image; do
  rm -f "usr/bin/$program"
done
# What checks programs that draw by Vulkan, and starters of a server for people.
rm -f usr/lib/chromium/libVkLayer_khronos_validation.so usr/bin/tigervncserver usr/bin/vncserver
# Parts that load a library which was left out, each for something that nothing here does: lights of a keyboard, pages of PostScript, a
# GPU, a file of passwords.
rm -f usr/bin/xkbvleds usr/bin/xkbwatch usr/lib/*/imlib2/loaders/ps.so usr/lib/*/gbm/dri_gbm.so usr/lib/*/sasl2/libsasldb.so*

# Of fonts for scripts of the world one face for each script in wide use; of those for Chinese, Japanese and Korean no serifs.
find usr/share/fonts/opentype/noto -name 'NotoSerifCJK*' -delete
scripts='Arabic Armenian Bengali Devanagari Ethiopic Georgian Gujarati Gurmukhi Hebrew Kannada Khmer Lao Malayalam Math Myanmar Oriya'
scripts="$scripts Sinhala Symbols Symbols2 Tamil Telugu Thai"
mkdir kept
for script in $scripts; do mv "usr/share/fonts/truetype/noto/NotoSans$script-Regular.ttf" kept/; done
mv usr/share/fonts/truetype/noto/NotoColorEmoji.ttf kept/
rm -rf usr/share/fonts/truetype/noto
mv kept usr/share/fonts/truetype/noto

mkdir -p tmp run/agent home/agent proc sys dev

# No times, as they all change. Before the fonts are listed: a list is good for folders of the time at which it was made.
find . -exec touch --no-dereference --date=@0 {} +
libraries=$(cd usr/lib && echo *-linux-gnu)
in_root() { chroot . /usr/bin/env -i PATH=/usr/bin:/usr/sbin LANG=C.UTF-8 SOURCE_DATE_EPOCH=0 "$@"; }
in_root /usr/sbin/ldconfig
rm -rf var/cache/ldconfig

# A library that was left out by mistake would be missed by a user. Each program and each library must find all that it names. What is no
# program, such as a script, says something else or nothing.
find usr/bin usr/sbin usr/lib usr/libexec -type f \( -perm -100 -o -name '*.so*' \) | sort | while read -r file; do
  in_root LD_TRACE_LOADED_OBJECTS=1 ld.so "/$file" 2>&1 | { grep -E 'not found|cannot open shared' || :; } | sed "s|^|/$file: |"
done >missing
if [ -s missing ]; then
  echo "libraries are missing; take what has them out of what agent-image/packages leaves out:" >&2
  cat missing >&2
  exit 1
fi
rm missing

in_root fc-cache --system-only
in_root "/usr/lib/$libraries/glib-2.0/glib-compile-schemas" /usr/share/glib-2.0/schemas
in_root "/usr/lib/$libraries/gdk-pixbuf-2.0/gdk-pixbuf-query-loaders" --update-cache
in_root update-mime-database /usr/share/mime
in_root "/usr/lib/$libraries/libgtk-3-0t64/gtk-query-immodules-3.0" --update-cache
