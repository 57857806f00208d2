// Which rows of the table of failures (cluster.md §12) a fault of a plan provokes.

import type { FaultKind } from './plan.ts'

export const FAULT_ROWS: Readonly<Record<FaultKind, readonly number[]>> = {
  kill: [1, 2, 3, 26, 39, 40, 41, 42],
  power: [1, 2, 3, 20, 26],
  'kill-all': [11],
  'power-all': [11, 20],
  stop: [22, 23, 5, 38],
  'rolling-restart': [45],
  move: [25],
  halves: [4, 5, 10],
  isolate: [4, 6, 38],
  deaf: [7, 8],
  mute: [7, 8],
  bridge: [9, 44],
  pair: [9, 44],
  flicker: [32],
  'slow-link': [34],
  loss: [30],
  'full-disk': [15, 16],
  'slow-disk': [17, 18],
  corrupt: [19],
  rollback: [14],
  wipe: [12],
  clock: [21],
  'rotate-key': [49],
  'rotate-certificates': [29],
  transfer: [1],
  garbage: [48],
  intruder: [27, 28, 29],
}
