// Thin calls into libsodium and OpenSSL.
#include "collector/fleet/crypto.h"

#include <openssl/evp.h>
#include <sodium.h>

#include <memory>

#include "core/base/result.h"

namespace weir {

namespace {

// Looked up once: by name, for each record, it costs as much as the hash of a short one.
const EVP_MD* sha256_method() {
  static EVP_MD* const method = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return method;
}

}  // namespace

std::array<std::uint8_t, 32> sha256_of(std::initializer_list<Bytes> parts) {
  // Kept: making one takes as long as hashing 200 bytes.
  thread_local const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(
      EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  std::array<std::uint8_t, 32> digest{};
  WEIR_CHECK(context && EVP_DigestInit_ex(context.get(), sha256_method(), nullptr) == 1);
  for (Bytes part : parts)
    WEIR_CHECK(EVP_DigestUpdate(context.get(), part.data(), part.size()) == 1);
  WEIR_CHECK(EVP_DigestFinal_ex(context.get(), digest.data(), nullptr) == 1);
  return digest;
}

std::string random_bytes(std::size_t count) {
  WEIR_CHECK(sodium_init() >= 0);
  std::string bytes(count, '\0');
  randombytes_buf(bytes.data(), bytes.size());
  return bytes;
}

std::string random_uuid() {
  std::string bytes = random_bytes(16);
  bytes[6] = static_cast<char>((bytes[6] & 0x0f) | 0x40);  // version 4
  bytes[8] = static_cast<char>((bytes[8] & 0x3f) | 0x80);  // RFC 4122
  std::string text = hex(bytes_of(bytes));
  for (std::size_t at : {20, 16, 12, 8}) text.insert(at, 1, '-');
  return text;
}

std::string hex(Bytes bytes) {
  std::string text(bytes.size() * 2 + 1, '\0');
  sodium_bin2hex(text.data(), text.size(), bytes.data(), bytes.size());
  text.pop_back();
  return text;
}

std::string unhex(std::string_view text) {
  std::string bytes(text.size() / 2, '\0');
  std::size_t size = 0;
  if (text.size() % 2 != 0 ||
      sodium_hex2bin(reinterpret_cast<unsigned char*>(bytes.data()), bytes.size(), text.data(),
                     text.size(), nullptr, &size, nullptr) != 0 ||
      size != bytes.size())
    return {};
  return bytes;
}

std::string base64url(Bytes bytes) {
  constexpr int kVariant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
  std::string text(sodium_base64_encoded_len(bytes.size(), kVariant), '\0');
  sodium_bin2base64(text.data(), text.size(), bytes.data(), bytes.size(), kVariant);
  text.pop_back();  // its zero
  return text;
}

namespace {

std::string signed_text(std::string_view context, Bytes message) {
  std::string text(context);
  text += '\0';
  text += text_of(message);
  return text;
}

const unsigned char* unsigned_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

Ed25519Pair new_ed25519() {
  WEIR_CHECK(sodium_init() >= 0);
  Ed25519Pair pair{std::string(crypto_sign_PUBLICKEYBYTES, '\0'),
                   std::string(crypto_sign_SECRETKEYBYTES, '\0')};
  crypto_sign_keypair(reinterpret_cast<unsigned char*>(pair.public_key.data()),
                      reinterpret_cast<unsigned char*>(pair.secret_key.data()));
  return pair;
}

std::string sign_ed25519(std::string_view secret_key, std::string_view context, Bytes message) {
  WEIR_CHECK(secret_key.size() == crypto_sign_SECRETKEYBYTES);
  const std::string text = signed_text(context, message);
  std::string signature(crypto_sign_BYTES, '\0');
  crypto_sign_detached(reinterpret_cast<unsigned char*>(signature.data()), nullptr,
                       unsigned_of(text), text.size(), unsigned_of(secret_key));
  return signature;
}

bool verify_ed25519(std::string_view public_key, std::string_view context, Bytes message,
                    std::string_view signature) {
  if (public_key.size() != crypto_sign_PUBLICKEYBYTES || signature.size() != crypto_sign_BYTES)
    return false;
  const std::string text = signed_text(context, message);
  return crypto_sign_verify_detached(unsigned_of(signature), unsigned_of(text), text.size(),
                                     unsigned_of(public_key)) == 0;
}

}  // namespace weir
