// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "aws/ec2_client.hpp"
#include "aws/imds.hpp"
#include "core/clock.hpp"
#include "core/result.hpp"
#include "net/http.hpp"

namespace amilift::app {

struct AccountOptions {
    std::string region;    ///< empty: AWS_REGION, AWS_DEFAULT_REGION, this instance's
    std::string endpoint;  ///< of EC2; empty: the Region's
    std::string imds_url;  ///< empty: the link-local address
};

/// EC2 for a command that a person runs, with credentials of the environment if there are any, else
/// of the instance's role.
class Account {
  public:
    Account(core::Clock& clock, const core::Cancel& cancel, AccountOptions options);

    /// Errors: invalid_input when no Region is known.
    [[nodiscard]] core::Result<> open();
    /// Not before open().
    [[nodiscard]] aws::Ec2Api& ec2() { return *ec2_; }
    /// Gives up soon: outside EC2 nothing answers there.
    [[nodiscard]] aws::Imds& imds() { return imds_; }

  private:
    core::Result<std::string> region();

    core::Clock& clock_;
    const core::Cancel& cancel_;
    AccountOptions options_;
    bool region_is_of_instance_ = false;
    net::CurlTransport transport_;
    aws::Imds imds_;
    std::unique_ptr<aws::CredentialsProvider> credentials_;
    std::unique_ptr<aws::Client> client_;
    std::unique_ptr<aws::Ec2Client> ec2_;
};

}  // namespace amilift::app
