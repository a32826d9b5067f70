// Every reason code of the tree with its sentence in both languages: the only list. A code that is
// used and not here fails tests/core/policy/reasons_test.cpp.
// In a template {0} is the first argument as it is; {0:bytes} a count of bytes, scaled; {0:half}
// half of such a count (what a limit with a window lets leave at once); {0:seconds} a time;
// {0:percent} a number with its sign; {0:per} the words for an account's key;
// {0:service} a service's title; {0:window} a duration such as 24h in words.
#pragma once

#include <span>
#include <string_view>

namespace weir {

struct ReasonText {
  std::string_view code;
  int arguments = 0;
  std::string_view english;
  std::string_view chinese;
};

inline constexpr ReasonText kReasonTexts[] = {
    // evaluate: what the rules say
    {"rule_matched", 1, "Rule {0} applies.", "适用规则 {0}。"},
    {"rule_set_aside", 2, "Rule {0} is set aside by {1}.", "规则 {0} 被 {1} 排除。"},
    {"rule_excepted", 1, "Rule {0} is set aside by an exception of this person.",
     "规则 {0} 因此人获批的例外而不适用。"},
    {"limit_window", 4, "Rule {0} lets at most {1:bytes} leave in {3:seconds} for each {2:per}.",
     "规则 {0}：每个{2:per}在 {3:seconds}内最多发出 {1:bytes}。"},
    {"limit_total", 3, "Rule {0} lets at most {1:bytes} leave in all for each {2:per}.",
     "规则 {0}：每个{2:per}总共最多发出 {1:bytes}。"},
    {"limit_customers", 3,
     "Rule {0} lets the data of at most {1} customers leave for each {2:per}.",
     "规则 {0}：每个{2:per}最多发出 {1} 位客户的数据。"},
    {"no_rule_matched", 0, "No rule is about this; it is reported by default.",
     "没有规则涉及此事，按默认设置报告。"},
    {"observe_only", 0, "The policy only observes: nothing was stopped.",
     "策略处于观察模式：没有阻止任何操作。"},
    // line: accounts
    {"limit_spent", 5,
     "Rule {0} lets {1:bytes} leave in {2:seconds}, {1:half} of it at once. That is used up: "
     "{4:bytes} went to {3}; the rest comes back over {2:seconds}.",
     "规则 {0} 允许 {2:seconds}内发出 {1:bytes}，其中 {1:half} 可一次发出。这部分已用完：已向 {3} "
     "发出 {4:bytes}；其余额度在 {2:seconds}内逐步恢复。"},
    {"limit_total_spent", 4,
     "Rule {0} lets {1:bytes} leave in all. That is used up: {3:bytes} went to {2}.",
     "规则 {0} 总共允许发出 {1:bytes}。已用完：已向 {2} 发出 {3:bytes}。"},
    {"limit_flow_spent", 4,
     "Rule {0} lets each connection send {1:bytes}. One to {2} has used that up: it sent "
     "{3:bytes}.",
     "规则 {0} 允许每个连接发出 {1:bytes}。一个发往 {2} 的连接已用完：它发出了 {3:bytes}。"},
    // line: holds
    {"held_then_closed", 3,
     "Rule {0} lets what goes to {1} wait for an answer. Without one it is closed after "
     "{2:seconds}, and what waits does not leave.",
     "规则 {0} 使发往 {1} 的数据等待答复。若无人答复，连接将在 "
     "{2:seconds}后关闭，等待的数据不会发出"
     "。"},
    {"held_then_goes", 3,
     "Rule {0} lets what goes to {1} wait for an answer. Without one it goes on after "
     "{2:seconds}.",
     "规则 {0} 使发往 {1} 的数据等待答复。若无人答复，将在 {2:seconds}后继续发送。"},
    {"hold_answered", 2, "It was let go on. User {0} said why: \"{1}\".",
     "已放行。用户 {0} 说明的理由：“{1}”。"},
    {"hold_closed", 0,
     "Nobody answered in time: the connection was closed, and what waited in it did not leave.",
     "未在时限内得到答复：连接已关闭，等待的数据没有发出。"},
    {"hold_let_go", 0, "Nobody answered in time: it went on, as the rule says.",
     "未在时限内得到答复：已按规则继续发送。"},
    {"hold_too_many", 1,
     "As many connections of this person as may ({0}) waited already: this one was closed at once.",
     "此人等待答复的连接已达上限（{0} 个）：该连接已立即关闭。"},
    {"kept_in", 1,
     "This host is isolated by an administrator: nothing leaves it, so what was meant for {0} was "
     "refused.",
     "管理员已隔离本机：任何数据都不得发出，因此发往 {0} 的数据已被拒绝。"},
    {"place_blocked", 1,
     "An administrator blocked {0} on this host for a time: what was meant for it was refused.",
     "管理员已在本机临时封锁 {0}：发往该处的数据已被拒绝。"},
    {"blocked", 1, "An administrator blocked it on this host: {0}.", "管理员已在本机封锁：{0}。"},
    {"family_refused", 1, "A socket of {0} was asked for, which no limit counts: it was refused.",
     "有程序请求 {0} 套接字，任何限额都不计入此类套接字：已拒绝。"},
    {"family_made", 1,
     "A socket of {0} was asked for, which no limit counts: what it sends is not bounded.",
     "有程序请求了 {0} 套接字，任何限额都不计入此类套接字：其发送的数据不受限制。"},
    {"family_sent", 2,
     "Sockets of {0} of this person have sent {1:bytes} since Weir began to look; no limit counts "
     "that, and nothing bounds it.",
     "自 Weir 开始监测以来，此人的 {0} 套接字已发出 {1:bytes}；任何限额都不计入，也不受限制。"},
    {"isolated", 1, "The host is isolated: {0}.", "本机已被隔离：{0}。"},
    {"released", 1, "The host is released and only observes: {0}.",
     "本机已解除限制，仅观察：{0}。"},
    {"host_released", 2,
     "This host was released by an answer to its challenge: for {0:seconds} its policy only "
     "observes and stops nothing ({1}).",
     "本机凭质询答复已解除限制：{0:seconds}内策略仅观察，不阻止任何操作（{1}）。"},
    {"crashed_before", 0,
     "The agent crashed three times within a minute: the policy before the newest is in force "
     "again, and the newest is refused.",
     "代理一分钟内崩溃三次：已恢复上一版策略，最新策略被拒绝。"},
    {"crashed_observes", 0,
     "The agent crashed three times within a minute: its policy only observes and stops nothing, "
     "until a new policy comes or the agent is started again.",
     "代理一分钟内崩溃三次：策略仅观察，不阻止任何操作，直到收到新策略或代理重新启动。"},
    {"crashed_over", 0, "The agent goes on as before its crashes.", "代理已恢复崩溃前的状态。"},
    {"host_release_over", 0, "The release of this host is over: its policy is enforced again.",
     "本机的解除已结束：策略恢复执行。"},
    {"exception_spent", 3,
     "An exception let this person send {0:bytes} to {1}. {2:bytes} were sent by it, and what is "
     "left of it is too little for the next packet: it is over, and the ordinary limits hold "
     "again.",
     "一项例外允许此人向 {1} 发出 {0:bytes}。已凭此发出 {2:bytes}，余额不足以发出下一个数据包：该例"
     "外已结束，普通限额重新生效。"},
    {"answers_spent", 4,
     "Servers of this machine may answer others with {0:bytes} in {1:seconds}, {0:half} of it at "
     "once (defaults.answers of the policy). That is used up, here by answers to {2}; {3:bytes} "
     "were sent so far. What they answer now counts as anything else that leaves, until it comes "
     "back.",
     "本机上的服务器在 {1:seconds}内最多可向其他机器应答 {0:bytes}，其中 {0:half} "
     "可一次发出（策略的 defaults.answers）。该额度已在应答 {2} 时用完；至今已发出 {3:bytes}。"
     "在额度恢复之前，其应答按普通外发流量计算。"},
    // dns_tunnel
    {"dns_zone_bytes", 3,
     "Names asked for under {0} carried {1:bytes} of new data within {2:window}.",
     "{2:window}内，在 {0} 下查询的域名携带了 {1:bytes} 新数据。"},
    {"dns_repeat_bytes", 3,
     "The order of repeated questions under {0} can carry {1:bytes} within {2:window}.",
     "{2:window}内，在 {0} 下重复查询的次序可携带 {1:bytes}。"},
    {"dns_fixed_first_label", 1, "The names share the first label {0}; the data stands behind it.",
     "这些域名的首个标签同为 {0}，数据位于其后。"},
    {"dns_no_suffix", 0, "The names end in no known public suffix.",
     "这些域名不以任何已知公共后缀结尾。"},
    {"dns_case_bytes", 1, "The mix of upper and lower case carried {0:bytes}.",
     "大小写的变化携带了 {0:bytes}。"},
    {"dns_encoded_names", 1,
     "The names read like encoded bytes: {0} bits a letter, where words have 2.5 to 6.",
     "域名像编码后的字节：每个字母 {0} 比特，普通词语为 2.5 至 6。"},
    {"dns_long_names", 2,
     "The names are long: {0} characters on average, the longest label has {1}.",
     "域名很长：平均 {0} 个字符，最长的标签有 {1} 个。"},
    {"dns_binary_names", 1, "{0} names hold bytes that no host name has.",
     "有 {0} 个域名含有主机名中不会出现的字节。"},
    {"dns_unique_names", 2, "{0} names were asked for only once ({1:percent} of the questions).",
     "有 {0} 个域名只查询过一次（占查询的 {1:percent}）。"},
    {"dns_unusual_types", 1,
     "{0:percent} of the questions ask for types that programs seldom need.",
     "{0:percent} 的查询使用了程序很少需要的类型。"},
    {"dns_long_answers", 1, "The answers are long: {0:bytes} on average.",
     "应答很长：平均 {0:bytes}。"},
    {"dns_nxdomain", 1, "{0:percent} of the answers say that the name does not exist.",
     "{0:percent} 的应答表示域名不存在。"},
    {"dns_never_connected", 0, "Nothing ever connected to what the answers named.",
     "从未有程序连接过应答所指的地址。"},
    // cloud_upload
    {"upload_burst", 3, "{1:bytes} went up to {0:service} in one go, while {2:bytes} came back.",
     "一次向 {0:service} 上传了 {1:bytes}，同时仅收到 {2:bytes}。"},
    {"upload_pieces", 3, "{1:bytes} went up to {0:service} in pieces, over {2} connections.",
     "通过 {2} 个连接分批向 {0:service} 上传了 {1:bytes}。"},
    {"upload_volume", 3, "{1:bytes} went up to {0:service}, while {2:bytes} came back.",
     "向 {0:service} 上传了 {1:bytes}，同时收到 {2:bytes}。"},
    {"upload_by_server_name", 1, "The connection named the server {0}.",
     "该连接指明的服务器为 {0}。"},
    {"upload_by_http_host", 1, "The request was addressed to {0}.", "该请求发往主机 {0}。"},
    {"upload_by_resolved_name", 1, "The address had been looked up as {0} before.",
     "该地址此前由域名 {0} 解析得到。"},
    {"upload_by_address", 1, "The address {0} belongs to this service alone.",
     "地址 {0} 专属于该服务。"},
    {"upload_by_earlier_flow", 1, "Earlier connections there named {0}.",
     "此前与该处的连接曾指明 {0}。"},
    {"upload_http_method", 1, "The request was a {0}.", "请求方法为 {0}。"},
    // bulk_egress
    {"bulk_bytes", 3, "{1:bytes} went to {0} within {2:window}.",
     "{2:window}内向 {0} 发出了 {1:bytes}。"},
    {"bulk_ratio", 2, "{0:bytes} went out and {1:bytes} came back.",
     "发出 {0:bytes}，收到 {1:bytes}。"},
    {"bulk_flows", 1, "It was spread over {0} connections.", "分散在 {0} 个连接中。"},
    {"bulk_inside", 0, "The destination is inside this network.", "去向位于本网络内部。"},
    {"bulk_no_name", 0, "Nothing names the destination.", "没有任何名称可表明该去向。"},
    {"bulk_not_catalogued", 1, "The catalogue does not know {0}.", "目录中没有 {0}。"},
    // line: somebody took away what holds the bound
    {"hook_removed", 3,
     "The kernel program {0} was taken from its place, which needs root's rights. For at most "
     "{1:seconds} it held nothing, and at most {2:bytes} left this machine in that time.",
     "内核程序 {0} 被人移除，此操作需要 root 权限。其失效时间最长 {1:seconds}，期间本机最多发出 "
     "{2:bytes}。"},
    {"hook_missing", 1,
     "The kernel program {0} was not at its place when the guard started; since when, nobody "
     "knows.",
     "守护进程启动时，内核程序 {0} 已不在原位，失效起始时间未知。"},
    {"program_replaced", 3,
     "Another program stood where {0} belongs, which needs root's rights. For at most {1:seconds} "
     "nothing held there, and at most {2:bytes} left this machine in that time.",
     "{0} 被人换成了其他程序，此操作需要 root 权限。其失效时间最长 {1:seconds}，期间本机最多发出 "
     "{2:bytes}。"},
    {"pins_removed", 3,
     "Pins that keep the bound when the guard dies were removed: {0}, among them {1}. The bound "
     "held; had the guard died meanwhile, at most {2:seconds}, it would have ended with it.",
     "用于在守护进程终止后维持管控的固定点被移除：共 {0} 个，包括 "
     "{1}。管控未中断；但若守护进程在此期间（最长 {2:seconds}）终止，管控将随之失效。"},
    {"more_removed", 1, "{0} more were removed within a minute, and are not told one by one.",
     "一分钟内另有 {0} 处被移除，不再逐一列出。"},
    {"control_silent", 2,
     "The kernel program {0} is in its place but does not work: a try of it saw \"{1}\". What it "
     "holds does not hold until then.",
     "内核程序 {0} 仍在原位但不起作用：自检结果为“{1}”。在其恢复之前，相应管控无效。"},
    {"control_works_again", 1, "The kernel program {0} works again.", "内核程序 {0} 已恢复工作。"},
    {"hook_restored", 0, "It is back at its place.", "已恢复原位。"},
    {"hook_not_restored", 1, "It could not be put back: {0}. It is tried again each second.",
     "未能恢复：{0}。每秒重试一次。"},
    // guard: why an offered policy did not come into force (agent/guard/uplink_messages.h)
    {"policy_unknown_key", 0,
     "No signature is by a key that this host takes policies from; the policy before stays.",
     "没有任何签名来自本机信任的密钥；仍使用之前的策略。"},
    {"policy_threshold", 0,
     "Too few of the keys that this host knows have signed; the policy before stays.",
     "本机信任的密钥中，签名的数量不足；仍使用之前的策略。"},
    {"policy_bad_signature", 0,
     "A signature is not for these bytes: they were changed; the policy before stays.",
     "签名与内容不符，内容已被改动；仍使用之前的策略。"},
    {"policy_not_newer", 0, "Its number is not above that of the policy in force, which stays.",
     "其编号不高于当前生效的策略；仍使用之前的策略。"},
    {"policy_expired", 0, "It has expired; the policy before stays.",
     "该策略已过期；仍使用之前的策略。"},
    {"policy_not_yet", 0, "It is not valid yet; the policy before stays.",
     "该策略尚未生效；仍使用之前的策略。"},
    {"policy_other_group", 0, "It is for another group of hosts; the policy before stays.",
     "该策略面向其他主机组；仍使用之前的策略。"},
    {"policy_damaged", 0, "It is cut short or no policy; the policy before stays.",
     "内容不完整或不是策略；仍使用之前的策略。"},
    {"policy_too_large", 0, "It is larger than a policy may be; the policy before stays.",
     "超出策略允许的大小；仍使用之前的策略。"},
    {"policy_unenforceable", 1,
     "It asks for what this version can't enforce: {0}; the policy before stays.",
     "它要求本版本无法执行的内容：{0}；仍使用之前的策略。"},
    {"policy_failed", 1, "This host could not take it: {0}; the policy before stays.",
     "本机未能采用：{0}；仍使用之前的策略。"},
    {"policy_below_least", 1,
     "Its number is below {0}, the least that this host takes of its group; the policy before "
     "stays.",
     "其编号低于 {0}，即本机对所属主机组接受的最低编号；仍使用之前的策略。"},
    {"policy_crashed", 0,
     "Under it the agent crashed three times within a minute; the policy before is in force.",
     "在该策略下代理一分钟内崩溃三次；已恢复上一版策略。"},
    {"policy_host_lacks", 1,
     "It asks for what this host does not have: {0}. The policy before stays; if it was in force "
     "already, the rest of it holds.",
     "它要求本机不具备的能力：{0}。仍使用之前的策略；若该策略此前已生效，则其余部分继续执行。"},
    // the uplink
    {"certificate_not_renewed", 1, "The certificate of this host was not renewed: {0}.",
     "本机证书未能续期：{0}。"},
    // guard: why a command was not carried out, or a set of keys not taken
    // (agent/guard/uplink_messages.h)
    {"command_unknown_key", 0, "No signature is by a key that this host takes commands from.",
     "没有任何签名来自本机信任的密钥。"},
    {"command_threshold", 0, "Too few of the keys that this host knows have signed.",
     "本机信任的密钥中，签名的数量不足。"},
    {"command_bad_signature", 0, "A signature is not for these bytes: they were changed.",
     "签名与内容不符，内容已被改动。"},
    {"command_damaged", 1, "It is no command: {0}.", "这不是有效的命令：{0}。"},
    {"command_unknown_part", 1, "It has a part that this version does not know: {0}.",
     "其中有本版本不认识的部分：{0}。"},
    {"command_other_host", 0, "It is for another host.", "该命令面向另一台主机。"},
    {"command_no_host", 0, "This host was enrolled before hosts took commands: enrol it anew.",
     "本机注册时尚不支持命令：请重新注册。"},
    {"command_expired", 0, "It had expired when the host got it, or the host never did.",
     "主机收到时命令已过期，或主机从未收到。"},
    {"command_not_yet", 0, "It is not valid yet.", "该命令尚未生效。"},
    {"command_too_long", 0, "It is valid for longer than a command may be: 7 days.",
     "该命令的有效期超过命令允许的 7 天。"},
    {"command_not_built", 1, "This is not built in this version: {0}.", "本版本尚未实现：{0}。"},
    {"command_too_many", 0, "This host remembers as many commands as it can; try again later.",
     "本机记录的命令已达上限；请稍后再试。"},
    {"command_over_ceiling", 1, "It asks for more than a host gives: {0}.",
     "请求超出本机允许的上限：{0}。"},
    {"command_unknown_rule", 1, "The policy in force has no rule {0}.", "现行策略中没有规则 {0}。"},
    {"command_exceptions_full", 0,
     "As many exceptions hold on this host as it takes; try again when one has ended.",
     "本机生效的例外已达上限；请在其中之一结束后再试。"},
    {"command_no_lease", 0, "Nothing of that id is in force on this host.",
     "本机没有该编号的生效措施。"},
    {"command_superseded", 0, "A later decision has put this host into a group already.",
     "此后的另一项决定已为本机指定主机组。"},
    {"command_unprovable", 1,
     "An exception for the name {0} would never hold: no resolver of the policy in force can prove "
     "a name. Give the policy one, with the network that it is reached over (`resolvers`, `via`).",
     "针对域名 {0} "
     "的例外不会生效：现行策略中没有可证实域名的解析器。请在策略中加入解析器及其所在网络"
     "（`resolvers`、`via`）。"},
    {"command_name_unproven", 0,
     "It holds only where its name is proven, and where this was reported nothing had proven it.",
     "该例外仅在域名得到证实之处生效；而在上报此事时，该域名未得到证实。"},
    {"command_no_tree", 0, "No process of that tree is there.", "该进程树已没有进程。"},
    {"command_protected_tree", 1, "That tree is not to be killed: {0}. Nothing was done.",
     "不得终止该进程树：{0}。未执行。"},
    {"command_tree_left", 1,
     "Some of its processes started others faster than they could be ended; what is left sends "
     "nothing for an hour: {0}.",
     "其部分进程不断派生新进程，未能全部终止；剩余进程一小时内不能发送数据：{0}。"},
    {"command_never_blocked", 1, "This place is never blocked: {0}. Nothing was done.",
     "该目的地不得封锁：{0}。未执行。"},
    {"command_blocks_full", 0,
     "As many places are blocked on this host as it takes; try again when one has ended.",
     "本机封锁的目的地已达上限；请在其中之一结束后再试。"},
    {"command_tree_not_silenced", 1,
     "Its processes were ended, but what it sends could not be stopped beside: {0}.",
     "其进程已被终止，但未能同时阻止其发送数据：{0}。"},
    {"command_failed", 1, "This host could not: {0}.", "本机未能执行：{0}。"},
    {"command_done_before", 0, "It was taken before, and is not done a second time.",
     "该命令此前已被接受，不会重复执行。"},
    {"trust_unknown_key", 0,
     "New policy keys are not signed by keys that this host knows; it keeps those that it has.",
     "新的策略密钥未由本机信任的密钥签名；仍使用现有密钥。"},
    {"trust_threshold", 0,
     "New policy keys are signed by too few of the old keys, or of the new; the host keeps those "
     "that it has.",
     "新的策略密钥的签名数量不足（旧密钥或新密钥）；仍使用现有密钥。"},
    {"trust_bad_signature", 0,
     "New policy keys have a signature that is not for them; the host keeps those that it has.",
     "新的策略密钥的签名与内容不符；仍使用现有密钥。"},
    {"trust_not_next", 0,
     "New policy keys are not those that follow the host's own; it keeps those that it has.",
     "新的策略密钥不是现有密钥的下一组；仍使用现有密钥。"},
    {"trust_damaged", 1, "New policy keys can't be read ({0}); the host keeps those that it has.",
     "新的策略密钥无法读取（{0}）；仍使用现有密钥。"},
    {"trust_failed", 1,
     "This host could not take new policy keys: {0}; it keeps those that it has.",
     "本机未能采用新的策略密钥：{0}；仍使用现有密钥。"},
    // weir exec
    {"left_behind", 1, "{0} processes that the command left behind were ended.",
     "命令遗留的 {0} 个进程已被结束。"},
    {"records_lost", 1, "{0} records about destinations were lost; the totals are exact.",
     "有 {0} 条去向记录丢失；总量仍然准确。"},
    {"resolver_outside", 0, "Names that a resolver outside this command looked up are not counted.",
     "由该命令之外的解析程序代查的域名不计入。"},
    {"guard_died", 0, "The part that sets the limit died, so the command was ended.",
     "负责限额的部分已中止，因此该命令已被结束。"},
    {"policy_died", 0, "The part that keeps the policy died, so the command was ended.",
     "负责策略的部分已中止，因此该命令已被结束。"},
    {"agent_ends", 0, "The agent was stopped, so the command was ended.",
     "代理程序已停止，因此该命令已被结束。"},
    {"still_bounded", 1,
     "{0} processes of the command that changed their user go on, under the limit.",
     "已切换用户的 {0} 个进程继续运行，仍受额度限制。"},
    {"refused_is_counted", 0,
     "What a rule refused was counted against the limit too: less left than is shown here.",
     "被规则拒绝的数据也计入额度：实际发出的少于此处所示。"},
};

inline constexpr std::span<const ReasonText> reason_texts() {
  return kReasonTexts;
}

}  // namespace weir
