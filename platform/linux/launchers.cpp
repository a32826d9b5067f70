// The usual launchers: see launchers.h.
#include "platform/linux/launchers.h"

#include <sys/stat.h>

namespace weir {
namespace {

// As Debian 12 and its neighbours install them. PID 1 is one whatever it is.
constexpr const char* kUsual[] = {
    // sessions and what starts them
    "/usr/lib/systemd/systemd", "/usr/sbin/sshd", "/usr/lib/openssh/sshd-session", "/bin/login",
    "/usr/bin/login", "/usr/sbin/gdm3", "/usr/libexec/gdm-session-worker",
    "/usr/libexec/gdm-wayland-session", "/usr/libexec/gdm-x-session", "/usr/sbin/lightdm",
    "/usr/bin/sddm", "/usr/lib/x86_64-linux-gnu/sddm/sddm-helper", "/usr/libexec/sddm-helper",
    "/usr/sbin/xrdp-sesman",
    // at times
    "/usr/sbin/cron", "/usr/sbin/crond", "/usr/sbin/atd", "/usr/sbin/anacron",
    // on somebody's call
    "/usr/bin/dbus-daemon", "/usr/bin/dbus-broker", "/usr/bin/dbus-broker-launch",
    "/usr/bin/containerd-shim", "/usr/bin/containerd-shim-runc-v2", "/usr/bin/conmon",
    // desktops: session, panel, menu, files
    "/usr/libexec/gnome-session-binary", "/usr/bin/gnome-shell", "/usr/bin/nautilus",
    "/usr/bin/ksmserver", "/usr/bin/plasmashell", "/usr/bin/plasma_session", "/usr/bin/krunner",
    "/usr/bin/kded5", "/usr/bin/dolphin", "/usr/bin/xfce4-session", "/usr/bin/xfce4-panel",
    "/usr/bin/xfdesktop", "/usr/bin/xfwm4", "/usr/bin/thunar", "/usr/bin/cinnamon-session",
    "/usr/bin/cinnamon", "/usr/bin/nemo", "/usr/bin/mate-session", "/usr/bin/mate-panel",
    "/usr/bin/caja", "/usr/bin/lxsession", "/usr/bin/lxpanel", "/usr/bin/lxqt-session",
    "/usr/bin/lxqt-panel", "/usr/bin/pcmanfm", "/usr/bin/openbox", "/usr/bin/i3", "/usr/bin/sway"};

}  // namespace

std::vector<std::string> usual_launchers(const std::string& root) {
  std::vector<std::string> found;
  for (const char* name : kUsual) {
    const std::string path = root + name;
    struct stat info {};
    if (::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == 0 &&
        (info.st_mode & (S_IWGRP | S_IWOTH)) == 0)
      found.push_back(path);
  }
  return found;
}

}  // namespace weir
