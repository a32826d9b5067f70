// SQLite, as little of it as the store needs: a connection, a prepared statement, a transaction.
// SQL is a literal of ours by type: what a peer sent can only ever be bound. Thread: one at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/bytes.h"
#include "core/base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace weir {

struct Sql {
  template <std::size_t N>
  consteval Sql(const char (&literal)[N]) : text(literal), size(N - 1) {}
  const char* text;
  std::size_t size;
};

class Database {
 public:
  enum class Mode : std::uint8_t { create, write, read };
  // create: the file must be new or empty. The sentence names the file.
  static Result<Database> open(const std::string& path, Mode mode);
  Database(Database&& other) noexcept;
  Database& operator=(Database&& other) noexcept;
  ~Database();

  bool run(Sql script);  // several statements, nothing bound; false: see error()
  std::int64_t changes() const;
  std::int64_t last_row() const;
  std::string error() const;  // of the last failed call, for a person, with the file's name
  sqlite3* raw() const { return db_; }

 private:
  Database(sqlite3* db, std::string path) : db_(db), path_(std::move(path)) {}
  sqlite3* db_ = nullptr;
  std::string path_;
};

// Prepared once, used often. After a failure ok() is false until the next bind.
class Statement {
 public:
  Statement(Database& db, Sql sql);
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement();

  // Resets, then binds all parameters from ?1 on: integers, text, Bytes (as a blob), nullptr.
  template <class... Values>
  Statement& bind(const Values&... values) {
    reset();
    int at = 0;
    (bind_one(++at, values), ...);
    return *this;
  }
  bool next();  // a row is there
  bool run();   // to its end; true: nothing failed
  bool ok() const { return ok_; }
  void reset();  // lets go of the read snapshot

  std::int64_t integer(int column) const;
  std::uint64_t bits(int column) const { return static_cast<std::uint64_t>(integer(column)); }
  std::string text(int column) const;  // text or blob
  bool null(int column) const;

 private:
  void bind_one(int at, std::int64_t value);
  void bind_one(int at, std::uint64_t value) { bind_one(at, static_cast<std::int64_t>(value)); }
  void bind_one(int at, int value) { bind_one(at, std::int64_t{value}); }
  void bind_one(int at, std::uint32_t value) { bind_one(at, std::int64_t{value}); }
  void bind_one(int at, bool value) { bind_one(at, std::int64_t{value}); }
  void bind_one(int at, std::string_view value);  // must outlive the step
  void bind_one(int at, const std::string& value) { bind_one(at, std::string_view(value)); }
  void bind_one(int at, Bytes value);  // likewise
  void bind_one(int at, std::nullptr_t);

  sqlite3_stmt* statement_ = nullptr;
  bool ok_ = true;
};

// Rolled back unless committed.
class Transaction {
 public:
  explicit Transaction(Database& db);
  ~Transaction();
  bool ok() const { return open_; }
  bool commit();

 private:
  Database& db_;
  bool open_;
};

}  // namespace weir
