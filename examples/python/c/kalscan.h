/* SPDX-License-Identifier: MIT */
/* The C interface of kalscan: mixers, filter and smoother over DLPack tensors, for C, C++ and any language that can
   call them. One shared library; CMake decides for what types and mixers it is built, and a call chooses among them. */
#ifndef KALSCAN_C_INTERFACE_H
#define KALSCAN_C_INTERFACE_H

#include <dlpack/dlpack.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#if defined(_WIN32)
#define KALSCAN_C_API __declspec(dllexport)
#else
#define KALSCAN_C_API __attribute__((visibility("default")))
#endif

/* Tensors. Every array is a DLTensor, with strides of any sign; a null pointer is an array that is not there. Nothing
   is kept after a call, and no array is taken over: the caller owns all of them. Arrays that are written must not
   repeat elements (stride 0) or overlap others.

   Devices. All arrays of a call lie on one device: the CPU (kDLCPU, kDLCUDAHost), or one NVIDIA GPU (kDLCUDA,
   kDLCUDAManaged) where the library was built with nvcc. On the CPU a call returns when it is done. On a GPU it
   enqueues its work in the stream of kalscan_run and returns: it allocates nothing, frees nothing and waits for
   nothing, so that it may be captured into a graph; it needs a workspace, whose size a function of the same arguments
   tells.

   Errors. Every function returns a kalscan_status. Unless that is KALSCAN_OK, kalscan_last_error() is the message,
   which names the argument and its value. Sizes, types and, on the CPU, signs are checked before anything is written.

   Threads. Calls from several threads at once are safe, also on one array that none of them writes. */

typedef enum kalscan_status {
  KALSCAN_OK = 0,
  KALSCAN_INVALID_ARGUMENT = 1, /* what is given does not fit itself */
  KALSCAN_FILTER_ERROR = 2,     /* a step of a matrix filter that cannot be computed: which, and why */
  KALSCAN_OUT_OF_MEMORY = 3,
  KALSCAN_DEVICE_ERROR = 4, /* what CUDA reported */
  KALSCAN_NOT_BUILT = 5,    /* the library has no code for this device, type or mixer */
  KALSCAN_ERROR = 6
} kalscan_status;

/* The message of this thread's last call that failed; valid until its next one. */
KALSCAN_C_API const char* kalscan_last_error(void);
/* The version of this interface: 1. A struct may get fields at its end in a later one. */
KALSCAN_C_API int kalscan_interface_version(void);
/* Whether the library was built for this device type. */
KALSCAN_C_API int kalscan_has_device(DLDeviceType device);

/* A dense array in the memory of the CPU: code and bits as DLPack has them (kDLFloat, 64 for double). */
static inline DLTensor kalscan_host_array(void* data, uint8_t code, uint8_t bits, int32_t axes, int64_t* shape) {
  DLTensor x;
  x.data = data;
  x.device.device_type = kDLCPU;
  x.device.device_id = 0;
  x.ndim = axes;
  x.dtype.code = code;
  x.dtype.bits = bits;
  x.dtype.lanes = 1;
  x.shape = shape;
  x.strides = NULL;
  x.byte_offset = 0;
  return x;
}

/* How a call runs. A null pointer in its place means: all zero. */
typedef struct kalscan_run {
  int32_t threads;   /* CPU: how many; 0 takes OpenMP's default. Results do not depend on it */
  int32_t check_nan; /* CPU: mixers look for NaN and infinity in all inputs first */
  int64_t chunk;     /* steps per chunk of time; 0 lets the library choose */
  void* stream;      /* GPU: a cudaStream_t of the arrays' device; 0 is the default stream */
  void* workspace;   /* GPU: memory of that device, 256-byte aligned, usable until the work in the stream is done */
  size_t workspace_bytes;
} kalscan_run;

/* ---- Mixers: recurrences in many lanes, a (channel, state) each ---- */

typedef enum kalscan_mixer {
  KALSCAN_KLA = 0,           /* a scalar Kalman filter a lane, read out after the token's own update */
  KALSCAN_KLA_PREDICTED = 1, /* the same, read out one step ahead */
  KALSCAN_ROTATING_KLA = 2,  /* three channels are a head that every token turns by a quaternion; M counts heads */
  KALSCAN_GLA = 3,           /* the linear recurrence of gated linear attention */
  KALSCAN_ROTATING_KLA_PREDICTED = 4 /* rotating KLA, read out one step ahead */
} kalscan_mixer;

/* The inputs of a mixer, or their adjoints. B sequences, L tokens, M channels, S states; those that a mixer does not
   have are null.
     KLA:           v, Lambda (precision of v, >= 0), k, q, a (decay), p (process noise, >= 0)
     rotating KLA:  the same and r, with v [B, L, M, 3] and r [B, L, M, 4] = (w, x, y, z) of any length
     GLA:           v, k, q, g (gate)
   v, Lambda, r, k, q, the outputs and their adjoints have one storage type: float64, float32, bfloat16 or float16. a,
   p, g and the states have the number type: float64 with float64, else float32. On the CPU 16-bit arrays are widened to
   float32, in memory that the call allocates, and results rounded once. */
typedef struct kalscan_inputs {
  const DLTensor* v;      /* [B, L, M] */
  const DLTensor* Lambda; /* [B, L, M] */
  const DLTensor* r;      /* [B, L, M, 4] */
  const DLTensor* k;      /* [B, L, S] */
  const DLTensor* q;      /* [B, L, S] */
  const DLTensor* a;      /* [M, S], or one a token [B, L, M, S]; an axis of extent 1 is the same for all */
  const DLTensor* p;      /* likewise */
  const DLTensor* g;      /* likewise */
} kalscan_inputs;

/* The outputs, or their adjoints. One that is null is not computed; an adjoint that is null is zero. */
typedef struct kalscan_outputs {
  const DLTensor* y;    /* [B, L, M], of rotating KLA [B, L, M, 3] */
  const DLTensor* yvar; /* [B, L, M]; GLA has none */
} kalscan_outputs;

/* States [N, M, S] of N sequences, or their adjoints: of GLA `mean` alone, of KLA a mean and a variance or, with
   information != 0, an information vector and a precision (0 is allowed) in their places. A rotating mean is
   [N, M, S, 3]. */
typedef struct kalscan_state {
  const DLTensor* mean;
  const DLTensor* variance;
  int32_t information;
} kalscan_state;

/* What a call has besides inputs and outputs; all of it is optional, and a null pointer in its place means: none. */
typedef struct kalscan_states {
  const DLTensor* offsets;   /* int64 [N + 1], dense, on the CPU: N sequences one after another in time; B is 1 */
  kalscan_state initial;     /* before the first token; N(0, 1) where not given, 0 of GLA */
  kalscan_state final;       /* after the last one; may be the memory of `initial`. backward ignores it */
  kalscan_state checkpoints; /* before every token that is a multiple of `every`: [B, L / every + 1, M, S]; with offsets
                                [1, L / every + N, M, S]. Forward writes them, backward reads them if they are given */
  int64_t every;             /* for backward best what kalscan_backward_checkpoints says */
  kalscan_state final_bar;   /* backward: the adjoint of the final state in the form that it has here */
  kalscan_state initial_bar; /* backward: the adjoint of the initial state, written in the form that it has here */
} kalscan_states;

KALSCAN_C_API int kalscan_forward(kalscan_mixer mixer, const kalscan_inputs* in, const kalscan_outputs* out,
                                  const kalscan_states* states, const kalscan_run* run);
/* One token (L is 1) for each of B sequences: reads `state` and writes it in place. */
KALSCAN_C_API int kalscan_step(kalscan_mixer mixer, const kalscan_inputs* in, const kalscan_outputs* out,
                               const kalscan_state* state, const kalscan_run* run);
/* The exact adjoints of all inputs and of the initial state, from those of the outputs and of the final state. in_bar
   has the shapes of `in`: where an input is shared, its adjoint is the sum. One that is null is not computed. */
KALSCAN_C_API int kalscan_backward(kalscan_mixer mixer, const kalscan_inputs* in, const kalscan_outputs* out_bar,
                                   const kalscan_inputs* in_bar, const kalscan_states* states, const kalscan_run* run);

/* The bytes of workspace that the call with these arguments needs: 0 on the CPU. Data are not looked at. */
KALSCAN_C_API int kalscan_forward_workspace(kalscan_mixer mixer, const kalscan_inputs* in, const kalscan_states* states,
                                            const kalscan_run* run, size_t* bytes);
KALSCAN_C_API int kalscan_backward_workspace(kalscan_mixer mixer, const kalscan_inputs* in,
                                             const kalscan_states* states, const kalscan_run* run, size_t* bytes);
/* The distance of checkpoints of the forward call that saves backward a forward pass of its own. */
KALSCAN_C_API int kalscan_backward_checkpoints(kalscan_mixer mixer, const kalscan_inputs* in,
                                               const kalscan_states* states, int64_t* every);

/* ---- Kalman filter and smoother with matrix states, on the CPU ----
   x_t = F_t x_(t-1) + B_t u_t + w_t, w_t ~ N(0, Q_t);   y_t = H_t x_t + D_t u_t + v_t, v_t ~ N(0, R_t)
   n states, m sensors, k inputs, T steps; all arrays float64 or all float32. A matrix with an axis more in front is
   given one a step. F_t, Q_t and B_t lead to step t. */
typedef struct kalscan_model {
  const DLTensor *F, *Q, *H, *R;              /* [n, n], [n, n], [m, n], [m, m], or [T, ...] */
  const DLTensor *B, *D, *u;                  /* optional: [n, k], [m, k], or [T, ...]; u is [T, k] */
  const DLTensor *prior_mean, *prior_covariance; /* [n], [n, n]; both null: all components are diffuse */
  const DLTensor* diffuse;                    /* optional, uint8 or bool [n]: the components that are diffuse */
  int32_t before_first_step; /* the prior is of the state one step before the first reading, else of that at it */
  int32_t square_root;       /* carry roots of covariances: for float32, and for long series with a singular Q */
} kalscan_model;

/* What is returned of each step; all of it is optional. Where a belief is improper (its prior is diffuse, and the data
   up to it do not tell), it is N(mean, covariance + kappa diffuse) with kappa growing without bound. */
typedef struct kalscan_beliefs {
  const DLTensor* mean;       /* [T, n] */
  const DLTensor* covariance; /* [T, n, n] */
  const DLTensor* diffuse;    /* [T, n, n], 0 at proper steps */
} kalscan_beliefs;
typedef struct kalscan_filtered {
  kalscan_beliefs filtered;
  kalscan_beliefs predicted;             /* of x_t given y up to t - 1 */
  const DLTensor* innovation;            /* [T, m]: y_t less its prediction; NaN where y is missing */
  const DLTensor* innovation_covariance; /* [T, m, m] */
  const DLTensor* log_likelihood_terms;  /* [T] */
  const DLTensor* log_likelihood;        /* [N] */
} kalscan_filtered;

/* Filters N independent series of one model: y [T, m] holds them one after another, as `offsets` (int64 [N + 1], dense)
   delimit them; without offsets it is one. A NaN is a missing reading. Of matrices and inputs given per step, all
   series begin with those of step 0. */
KALSCAN_C_API int kalscan_filter(const kalscan_model* model, const DLTensor* y, const DLTensor* offsets,
                                 const kalscan_filtered* results, const kalscan_run* run);
/* The log-likelihood [N] alone: no beliefs are kept. */
KALSCAN_C_API int kalscan_log_likelihood(const kalscan_model* model, const DLTensor* y, const DLTensor* offsets,
                                         const DLTensor* log_likelihood, const kalscan_run* run);
/* Filters and smooths: the beliefs given all data, and those of the filter where `results` is not null. */
KALSCAN_C_API int kalscan_smooth(const kalscan_model* model, const DLTensor* y, const DLTensor* offsets,
                                 const kalscan_beliefs* smoothed, const kalscan_filtered* results,
                                 const kalscan_run* run);

#ifdef __cplusplus
}
#endif
#endif
