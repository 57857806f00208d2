// Whether a node whose mesh connection broke has crashed. A process that is killed shows it at once: its kernel closes the connections to
// all others and refuses new ones at every port of it. None of this is proof by itself: connections are reset, and a firewall that
// rejects looks from one place like a machine without the process. So nothing is concluded until two nodes, each of which lost a
// connection of its own to the same run, found all of its ports refused and its gossip silent, and others who were asked to ping it heard
// nothing either. The node is accused before the verdict, and a refutation wins. cluster.md §1.5, §3.6.

import { type Address, isSameAddress } from './address.ts'
import { isLive, type Member } from './members.ts'

/** `closed`: refused and silent. `open`: it spoke, or a port took a connection. `unknown`: neither was found. */
export type Finding = 'closed' | 'open' | 'unknown'

export type InquiryInput =
  /** The mesh connection to a run of a node broke, and nobody had closed it. */
  | { kind: 'link-lost'; node: string; epoch: number }
  /** The answer to `check-ports`: whether every port refused. */
  | { kind: 'ports-checked'; id: number; areClosed: boolean }
  /** The answer to `ask-witness`; exactly one. */
  | { kind: 'witness-said'; id: number; finding: Finding }
  /** A member wants to know; answered by `say-finding` with the same id. `isLinked`: this node's mesh connection to it stands. */
  | { kind: 'finding-asked'; id: number; node: string; epoch: number; isLinked: boolean }
  | InquiryTimer

export type InquiryTimer =
  | { kind: 'inquiry-due'; id: number; step: 'ping' | 'silent' | 'verdict' | 'forget' }
  | { kind: 'question-due'; id: number }

export type InquiryEffect =
  /** Connect to the gossip port and the mesh ports of the node; only a refusal of all of them counts as closed. */
  | { kind: 'check-ports'; id: number; member: Member; timeoutMs: number }
  /** Ask another member, over the mesh, what it found about this run. */
  | { kind: 'ask-witness'; id: number; peer: string; peerEpoch: number; node: string; epoch: number; timeoutMs: number }
  | { kind: 'say-finding'; id: number; finding: Finding }

/** What the table of members and the packets of gossip do for an inquiry. */
export interface InquirySurroundings {
  /** Of another node; undefined for this one. */
  member(name: string): Member | undefined
  /** A time that a healthy node would wait for an answer, as this node has to wait for it. */
  patienceMs(): number
  newId(): number
  /** A live member that may be asked. */
  choosePeer(accepts: (member: Member) => boolean): Member | undefined
  /** @param isAccused tells it that it is suspected, so that it refutes at once  @returns what the ack will name */
  ping(member: Member, isAccused: boolean): number
  /** Asks others to ping it; an ack names `seqNo`. */
  pingThroughOthers(member: Member, seqNo: number): void
  suspect(member: Member): void
  declareDead(member: Member): void
  timer(afterMs: number, then: InquiryTimer): void
  effect(effect: InquiryEffect): void
}

interface InquiryCounters {
  /** Those begun, and those that ended with a verdict. */
  inquiries: number
  inquiryVerdicts: number
}

interface Inquiry {
  /** Of its timers. */
  readonly id: number
  readonly node: string
  readonly epoch: number
  readonly address: Address
  /** Of the pings whose ack ends it. */
  readonly seqNos: Set<number>
  /** Of the answer that is waited for; undefined: it came. */
  checkId: number | undefined
  askId: number | undefined
  readonly asked: Set<string>
  areClosed: boolean
  /** From the second ping on: what arrives before may have been sent before the connection broke. */
  isListening: boolean
  isSilent: boolean
  hasWitness: boolean
  /** As it was accused with; undefined before. */
  accusedIncarnation: number | undefined
  /** The time is up; what is missing is the second look at the ports. */
  isVerdictDue: boolean
  /** What this node found; undefined while it does not know. */
  finding: Finding | undefined
  isOver: boolean
  /** Another connection to it broke meanwhile. */
  isDueAgain: boolean
}

/** Between two inquiries about one node, and how long what was found is told to others. */
const INQUIRY_INTERVAL_MS = 1000
/** At once; who dies beside so many others is found by probes. */
const INQUIRIES_MAX = 32
const QUESTIONS_MAX = 64
/** Members that are asked in one inquiry, one after the other, until one knows. */
const WITNESSES_MAX = 3
/** A witness waits for an answer as this node does, and the question has to travel. */
const WITNESS_PATIENCE = 2
/** A refusal takes a round trip; more time is for a node that is busy. */
const CHECK_PATIENCE = 2

export class Inquiries {
  readonly #around: InquirySurroundings
  /** By node. */
  readonly #inquiries = new Map<string, Inquiry>()
  readonly #questions = new Map<number, { node: string; epoch: number }>()
  readonly #counters: InquiryCounters

  constructor(around: InquirySurroundings, counters: InquiryCounters) {
    this.#around = around
    this.#counters = counters
  }

  step(input: InquiryInput): void {
    switch (input.kind) {
      case 'link-lost':
        return this.#linkLost(input.node, input.epoch)
      case 'ports-checked':
        return this.#portsChecked(input.id, input.areClosed)
      case 'witness-said':
        return this.#witnessSaid(input.id, input.finding)
      case 'finding-asked':
        return this.#asked(input)
      case 'question-due':
        return this.#questionDue(input.id)
      case 'inquiry-due': {
        const inquiry = this.#find((each) => each.id === input.id)
        if (inquiry === undefined) return
        if (input.step === 'forget') return this.#forget(inquiry)
        if (inquiry.isOver) return
        if (input.step === 'ping') this.#pingAgain(inquiry)
        else if (input.step === 'silent') this.#silent(inquiry)
        else this.#verdict(inquiry)
        return
      }
    }
  }

  /** Something came from this address: whoever is there has not crashed. */
  heard(from: Address): void {
    if (this.#inquiries.size === 0) return
    for (const inquiry of this.#inquiries.values()) {
      if (inquiry.isListening && !inquiry.isOver && isSameAddress(inquiry.address, from)) this.#end(inquiry, 'open')
    }
  }

  /** The node itself spoke over a stream, whose port says nothing. */
  heardOf(node: string): void {
    const inquiry = this.#inquiries.get(node)
    if (inquiry?.isListening === true && !inquiry.isOver) this.#end(inquiry, 'open')
  }

  /** An ack, of the node or of somebody who pinged it. */
  acked(seqNo: number): void {
    const inquiry = this.#find((each) => each.seqNos.has(seqNo))
    if (inquiry !== undefined && !inquiry.isOver) this.#end(inquiry, 'open')
  }

  /** Answers may have waited, or been lost, while nobody read them: nothing that was found holds. */
  abandon(): void {
    for (const inquiry of this.#inquiries.values()) {
      if (!inquiry.isOver) this.#end(inquiry, 'unknown')
    }
  }

  // ── This node's own inquiry ────────────────────────────────────────────────────────────────────────────────────────

  #linkLost(node: string, epoch: number): void {
    const former = this.#inquiries.get(node)
    if (former?.epoch === epoch) {
      former.isDueAgain = true
      return
    }
    if (former !== undefined && !former.isOver) this.#end(former, 'unknown')
    this.#begin(node, epoch)
  }

  #begin(node: string, epoch: number): void {
    const { member, newId, timer, patienceMs } = this.#around
    const record = member(node)
    if (record === undefined || record.epoch !== epoch || !isLive(record)) return
    if (this.#inquiries.size >= INQUIRIES_MAX) return
    const inquiry: Inquiry = {
      id: newId(),
      node,
      epoch,
      address: record.address,
      seqNos: new Set(),
      checkId: undefined,
      askId: undefined,
      asked: new Set(),
      areClosed: false,
      isListening: false,
      isSilent: false,
      hasWitness: false,
      accusedIncarnation: undefined,
      isVerdictDue: false,
      finding: undefined,
      isOver: false,
      isDueAgain: false,
    }
    this.#inquiries.set(node, inquiry)
    this.#counters.inquiries++
    const waitMs = patienceMs()
    this.#ping(inquiry, false)
    // One datagram may get lost.
    timer(waitMs / 2, { kind: 'inquiry-due', id: inquiry.id, step: 'ping' })
    timer(waitMs, { kind: 'inquiry-due', id: inquiry.id, step: 'silent' })
    timer(INQUIRY_INTERVAL_MS, { kind: 'inquiry-due', id: inquiry.id, step: 'forget' })
  }

  /** The run that it is about, where it was; undefined: that is over, or it moved. */
  #record({ node, epoch, address }: Inquiry): Member | undefined {
    const record = this.#around.member(node)
    return record?.epoch === epoch && isSameAddress(record.address, address) ? record : undefined
  }

  #ping(inquiry: Inquiry, isAccused: boolean): number | undefined {
    const record = this.#record(inquiry)
    // Others may have declared it dead; whoever asks this node what it found wants to know it all the same.
    if (record === undefined || inquiry.accusedIncarnation !== undefined) return undefined
    const seqNo = this.#around.ping(record, isAccused)
    inquiry.seqNos.add(seqNo)
    return seqNo
  }

  /** By now a living node has answered, and of a dead one all sockets are closed: its kernel takes them one after the other. */
  #pingAgain(inquiry: Inquiry): void {
    inquiry.isListening = true
    this.#ping(inquiry, false)
    const record = this.#record(inquiry)
    if (record === undefined) return this.#end(inquiry, 'unknown')
    this.#checkPorts(inquiry, record)
  }

  #checkPorts(inquiry: Inquiry, member: Member): void {
    const { newId, patienceMs, effect } = this.#around
    inquiry.checkId = newId()
    effect({ kind: 'check-ports', id: inquiry.checkId, member, timeoutMs: CHECK_PATIENCE * patienceMs() })
  }

  #portsChecked(id: number, areClosed: boolean): void {
    const inquiry = this.#find((each) => each.checkId === id)
    if (inquiry === undefined || inquiry.isOver) return
    inquiry.checkId = undefined
    if (!areClosed) return this.#end(inquiry, 'open')
    if (inquiry.isVerdictDue) return this.#verdict(inquiry)
    if (inquiry.accusedIncarnation !== undefined) return
    inquiry.areClosed = true
    this.#ask(inquiry)
    this.#goOn(inquiry)
  }

  #silent(inquiry: Inquiry): void {
    inquiry.isSilent = true
    this.#goOn(inquiry)
  }

  #ask(inquiry: Inquiry): void {
    const { choosePeer, newId, patienceMs, effect } = this.#around
    const { node, epoch, asked } = inquiry
    const peer = choosePeer(
      ({ name }) => name !== node && !asked.has(name) && this.#inquiries.get(name)?.isOver !== false,
    )
    if (peer?.epoch === undefined || asked.size >= WITNESSES_MAX) {
      // Alone with it, or with nobody who had a connection to it: probes decide. What this node found holds for others.
      inquiry.askId = undefined
      return
    }
    asked.add(peer.name)
    inquiry.askId = newId()
    const timeoutMs = WITNESS_PATIENCE * patienceMs()
    effect({ kind: 'ask-witness', id: inquiry.askId, peer: peer.name, peerEpoch: peer.epoch, node, epoch, timeoutMs })
  }

  #witnessSaid(id: number, finding: Finding): void {
    const inquiry = this.#find((each) => each.askId === id)
    if (inquiry === undefined || inquiry.isOver) return
    inquiry.askId = undefined
    if (finding === 'open') return this.#end(inquiry, 'open')
    if (finding === 'unknown') this.#ask(inquiry)
    else inquiry.hasWitness = true
    this.#goOn(inquiry)
  }

  #goOn(inquiry: Inquiry): void {
    if (!inquiry.areClosed || !inquiry.isSilent || inquiry.accusedIncarnation !== undefined) return
    if (inquiry.finding === undefined) this.#found(inquiry, 'closed')
    if (inquiry.hasWitness) this.#accuse(inquiry)
    else if (inquiry.askId === undefined) this.#end(inquiry, 'closed')
  }

  /** Two found the same. Now everybody hears of it, the node too, and all of it has to hold a second time. */
  #accuse(inquiry: Inquiry): void {
    const { pingThroughOthers, suspect, patienceMs, timer } = this.#around
    const record = this.#record(inquiry)
    if (record === undefined || !isLive(record)) return this.#end(inquiry, 'closed')
    suspect(record)
    const seqNo = this.#ping(inquiry, true)
    if (seqNo !== undefined) pingThroughOthers(record, seqNo)
    inquiry.accusedIncarnation = record.incarnation
    this.#checkPorts(inquiry, record)
    timer(patienceMs(), { kind: 'inquiry-due', id: inquiry.id, step: 'verdict' })
  }

  #verdict(inquiry: Inquiry): void {
    const record = this.#record(inquiry)
    const isRefuted = record?.state !== 'suspect' || record.incarnation !== inquiry.accusedIncarnation
    inquiry.isVerdictDue = true
    // The answer comes, if late: this node is busy.
    if (!isRefuted && inquiry.checkId !== undefined) return
    this.#end(inquiry, 'closed')
    if (record === undefined || isRefuted) return
    this.#counters.inquiryVerdicts++
    this.#around.declareDead(record)
  }

  #found(inquiry: Inquiry, finding: Finding): void {
    inquiry.finding = finding
    for (const [id, { node, epoch }] of this.#questions) {
      if (node === inquiry.node && epoch === inquiry.epoch) this.#say(id, finding)
    }
  }

  #end(inquiry: Inquiry, finding: Finding): void {
    inquiry.isOver = true
    inquiry.checkId = undefined
    inquiry.askId = undefined
    if (inquiry.finding !== finding) this.#found(inquiry, finding)
  }

  #forget(inquiry: Inquiry): void {
    const { id, node, epoch, isDueAgain } = inquiry
    if (!inquiry.isOver) return this.#around.timer(INQUIRY_INTERVAL_MS, { kind: 'inquiry-due', id, step: 'forget' })
    this.#inquiries.delete(node)
    if (isDueAgain) this.#begin(node, epoch)
  }

  #find(accepts: (inquiry: Inquiry) => boolean): Inquiry | undefined {
    for (const inquiry of this.#inquiries.values()) if (accepts(inquiry)) return inquiry
    return undefined
  }

  // ── Questions of others ────────────────────────────────────────────────────────────────────────────────────────────

  #asked({ id, node, epoch, isLinked }: InquiryInput & { kind: 'finding-asked' }): void {
    const inquiry = this.#inquiries.get(node)
    const own = inquiry?.epoch === epoch ? inquiry : undefined
    if (own?.finding !== undefined) return this.#say(id, own.finding)
    // Only who lost a connection of its own can tell; where one still stands the news of its end may be under way.
    if ((own === undefined && !isLinked) || this.#questions.size >= QUESTIONS_MAX) return this.#say(id, 'unknown')
    this.#questions.set(id, { node, epoch })
    this.#around.timer(this.#around.patienceMs(), { kind: 'question-due', id })
  }

  #questionDue(id: number): void {
    const question = this.#questions.get(id)
    if (question === undefined) return
    const inquiry = this.#inquiries.get(question.node)
    // An inquiry answers all questions when it ends.
    if (inquiry?.epoch === question.epoch && inquiry.finding === undefined) return
    this.#say(id, 'open')
  }

  #say(id: number, finding: Finding): void {
    this.#questions.delete(id)
    this.#around.effect({ kind: 'say-finding', id, finding })
  }
}
