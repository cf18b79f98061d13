#!/usr/bin/env bash
# Fetch the Debian packages of packages.csv and unpack each into its own folder; nothing is installed, no root is needed.
# Usage: fetch_packages.sh WORK_DIR        (about 5.4 GB to download, 12 GB unpacked)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$1
mkdir -p "$work/debs" "$work/packages"
cd "$work/debs"
tail -n +2 "$here/packages.csv" | cut -d, -f1 | while read -r package; do
  ls "${package}"_*.deb >/dev/null 2>&1 || apt-get download -q "$package"
  [ -d "../packages/$package" ] && continue
  rm -rf "../packages/$package.part"
  dpkg -x "${package}"_*.deb "../packages/$package.part"
  mv "../packages/$package.part" "../packages/$package"
done
