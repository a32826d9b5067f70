// DIR: what the collector makes of an empty folder, and what it insists on afterwards. A folder
// that has lost a part is told so; nothing is ever made anew beside something old.
//   store.db, days/        the store
//   ca/authority.{pem,key} the agents' authority
//   console/door.{pem,key} key and certificate of the console door, pinned by tokens
//   admin.json             collector/api/admin_file.h
//   lock                   held while a collector works with DIR
// Files are 0600, folders 0700. Thread: one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "collector/fleet/certificates.h"
#include "collector/fleet/private_files.h"
#include "collector/store/fleet_store.h"

namespace weir {

struct FolderOptions {
  std::string folder;
  std::string name;          // in the console's own certificate: a DNS name or an IP address
  std::string console_cert;  // PEM file with key and chain; "": the collector's own
};

struct DataFolder {
  FolderLock lock;
  std::unique_ptr<FleetStore> store;
  Authority authority;
  std::string console_certificate{}, console_key{};  // PEM
  Digest console_key_sha256{};
};

Result<DataFolder> open_data_folder(const FolderOptions& options, std::int64_t now_s);

// Corrects where the console door is, once that is known.
Result<void> write_address(const std::string& folder, const std::string& address,
                           const Digest& console_key_sha256);

}  // namespace weir
