// SPDX-License-Identifier: Apache-2.0
// The talk between the agent and the disk worker: the stream cut into messages, and each message.
// What was understood can be said again.
#include "tests/fuzz/fuzz.hpp"
#include "worker/protocol.hpp"

namespace fuzz = amilift::fuzz;
namespace worker = amilift::worker;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = fuzz::as_text(data, size);
    for (const auto form : {worker::TextForm::exact, worker::TextForm::readable}) {
        const auto message = worker::decode(bytes, form);
        if (!message) continue;
        const auto said = worker::encode(*message);
        const auto again = worker::decode(said, form);
        fuzz::require(again.has_value() && worker::encode(*again) == said);
    }
    (void)worker::decode_request(bytes);

    // In two pieces, as a socket may give them.
    worker::MessageReader reader;
    reader.feed(bytes.substr(0, size / 2));
    reader.feed(bytes.substr(size / 2));
    while (true) {
        const auto message = reader.next();
        if (!message || !*message) break;
        fuzz::require((*message)->size() <= worker::kMessageLimit);
        (void)worker::decode(**message);
    }
    return 0;
}
