/* Pod configuration protocol: nodes 0,1 + mediator. Every action is one atomic step of one party; messages are
   shared slots that may be lost, delayed, duplicated, overtaken. Leases: `lease[p]` may only outlive nothing: the
   promise that backs it cannot expire while it is held (established by lease.pml).                                */
#ifndef W
#define W 2          /* host writes */
#endif
#ifndef CRASH
#define CRASH 2      /* node crashes */
#endif
#ifndef MAXE
#define MAXE 4
#endif
#ifndef PRE
#define PRE 1        /* how many pre-elections may be tried */
#endif
#define LOG 3
#ifdef LIVE
#define MX (heal -> MAXE+3 : MAXE)
#else
#define MX MAXE
#endif
#ifdef M_AUTH_WHILE_ASKED
#define BINDOK true
#else
#define BINDOK (asked[n] == 0)
#endif
#ifdef M_RESTART_FORGETS_ASK
#define ASKOK true
#define RESTORE
#else
#define RESTORE if :: asked[n] == ep[n] && pr[n] == n && S[n] == bit(n) -> aset[n] = 1; jpos[n] = ln[n] :: else fi;
#define ASKOK (asked[n] == 0 || S[n] == 3 || aset[n])
#endif
#ifdef M_JOIN_EARLY
#define JOINOK true
#else
#define JOINOK (match[n] >= jpos[n])
#endif
#ifdef LIVE
bool heal; byte hm; bool hmed; bool fin;
#define H heal
#define CAN(n) (!heal || (hm & bit(n)))
#define HMED (!heal || hmed)
#else
#define H false
#define CAN(n) true
#define HMED true
#define hmed true
#endif
#define PAIR(m,p) (up[m] && up[p] && ep[m] == ep[p] && pr[m] == p && pr[p] == p && (S[p] == 3 || aset[p]))   /* m can and will grant to p */
#define EQ(i) (ln[0] > i && ln[1] > i && lt[i] == lt[LOG+i])
#define CPX (!EQ(0) -> 0 : (!EQ(1) -> 1 : (!EQ(2) -> 2 : 3)))
#define CI(n) (((S[n] == 3 || aset[n]) && match[n] < dlen[n]) -> match[n] : dlen[n])
#ifdef M_ACK_UNFLUSHED
#define ACKEND c
#else
#define ACKEND (c < dlen[o] -> c : dlen[o])   /* what is durable here, not what is in memory: a demoted primary has unflushed entries */
#endif
#define MED 2
#define NONE 255
#define bit(n) (1<<(n))
#define o (1-n)
#define T(n,i) lt[(n)*LOG+(i)]
#define V(n,i) lv[(n)*LOG+(i)]

/* durable at node */
byte ep[2], pr[2], S[2], rn[2], dlen[2], lt[6], lv[6];
byte asked[2];            /* epoch for which a CAS was sent and has no definite answer */
bool self[2];   /* node holds the authority: every sync member has bound itself to it */
bool bound[2];  /* node has given its right to ask to the other */
/* volatile, messages */
bool bid[2]; byte nonce[2], vote[2]; /* open bid; bind nonce; vote in flight from n */
bool up[2], act[2], prom[2], lease[2], aset[2];
byte ln[2], match[2], base[2], jpos[2];
/* messages */
bool gfl[2];                          /* grant from n in flight */
byte ackE[2], ackR[2], ackL[2];       /* ack from n in flight */
byte rq[2], rN[2], rP[2], rS[2];      /* CAS request: expected epoch (0: none), new config */
byte vE[2], vP[2], vS[2];             /* mediator's config as told to n (0: none) */
/* mediator, durable */
byte mE, mP, mS;
/* ghosts */
byte wr, crashes, pre, com[LOG];
byte k, c, i, a; bool ok;

/* authority as node n may believe it */
inline authority() { if :: self[n] -> a = n :: !self[n] && bound[n] -> a = o :: else -> a = MED fi }
#define serving(n) (up[n] && act[n] && pr[n] == n && (S[n] == bit(n) && !aset[n] || self[n] || lease[n]) && !prom[n])

inline chk1(x) { if :: serving(x) ->
     k = 0; do :: k < LOG -> assert(com[k] == 0 || (k < ln[x] && V(x,k) == com[k])); k++ :: else -> break od
     :: else fi; k = 0 }
inline check() { assert(!(serving(0) && serving(1))); chk1(0); chk1(1) }
inline adopt(E,P_,S_) { ep[n] = E; pr[n] = P_; S[n] = S_; asked[n] = 0; aset[n] = 0; match[n] = 0; base[n] = ln[n];
  bid[n] = 0; vote[n] = 0;
  if :: P_ != n -> act[n] = 0; lease[n] = 0; self[n] = 0 :: else fi }
/* the commit index as the primary n can compute it */
inline commit_index() {
  c = dlen[n];
#ifdef M_ACK_ANY
  if :: (S[n] == 3 || aset[n]) && match[n] > c -> c = match[n] :: else fi
#else
  if :: (S[n] == 3 || aset[n]) && match[n] < c -> c = match[n] :: else fi
#endif
}

init { d_step {
  up[0]=1; up[1]=1; ep[0]=1; ep[1]=1; pr[0]=0; pr[1]=0; S[0]=3; S[1]=3; rn[0]=1; rn[1]=1; act[0]=1;
  mE=1; mP=0;
#ifdef STARTJOIN
  S[0]=1; S[1]=1; mS=1
#else
  mS=3; lease[0]=1; prom[1]=1
#endif
  };
  atomic { run node(0); run node(1) } }
proctype node(byte n) {
  do
  /* ---- lease */
  :: d_step { up[n] && up[o] && ep[n] == ep[o] && pr[n] == o && pr[o] == o && (S[o] == 3 || aset[o]) && (!prom[n] || !gfl[n]) && (!H || !lease[o])
        -> prom[n] = 1; gfl[n] = 1 }
  :: d_step { gfl[o] && up[n] && pr[n] == n && !lease[n] -> lease[n] = 1; gfl[o] = 0; check() }
  :: d_step { lease[n] && (!H || !PAIR(o,n)) -> lease[n] = 0 }
#ifdef M_SKIP_LEASE
  :: d_step { prom[n] -> prom[n] = 0; gfl[n] = 0; check() }
#else
  :: d_step { prom[n] && !lease[o] && (!H || !PAIR(n,o)) -> prom[n] = 0; gfl[n] = 0; check() }
#endif
  /* ---- writes: append, flush, ship, ack */
  :: d_step { up[n] && pr[n] == n && act[n] && wr < W && ln[n] < LOG -> wr++; V(n,ln[n]) = wr; T(n,ln[n]) = ep[n]*8+rn[n]; ln[n]++ }
  :: d_step { up[n] && dlen[n] < ln[n] -> dlen[n]++ }
  :: d_step { up[n] && up[o] && ep[n] == ep[o] && pr[n] == n && pr[o] == n && (!H || ackE[o] == 0 && dlen[o] == ln[o] && (match[n] < CPX || CPX < ln[n])) ->   /* o takes the next batch from n */
       c = 0; do :: c < ln[n] && c < ln[o] && T(n,c) == T(o,c) -> assert(V(n,c) == V(o,c)); c++ :: else -> break od;
#ifdef M_KEEP_TAIL
       if :: c < ln[o] -> c = (ln[o] < ln[n] -> ln[o] : ln[n]) :: else fi;
#endif
       ok = 1;
       if :: c < ln[n] ->
             if :: ok -> 
                for (i : c .. LOG-1) { if :: i >= c -> V(o,i) = 0; T(o,i) = 0 :: else fi };
                V(o,c) = V(n,c); T(o,c) = T(n,c); c++; ln[o] = c; dlen[o] = c :: else fi
          :: else fi;
       ackE[o] = ep[o]; ackR[o] = rn[n]; ackL[o] = ACKEND; i = 0; c = 0; ok = 0 }
  :: d_step { ackE[o] != 0 && up[n] && pr[n] == n ->
#ifdef M_ACK_NORUN
       if :: ackE[o] == ep[n] && ackL[o] > match[n] -> match[n] = ackL[o] :: else fi;
#else
#ifdef M_IGNORE_EPOCH
       if :: ackL[o] > match[n] -> match[n] = (ackL[o] > ln[n] -> ln[n] : ackL[o]) :: else fi;
#else
       if :: ackE[o] == ep[n] && ackR[o] == rn[n] && ackL[o] > match[n] -> match[n] = ackL[o] :: else fi;
#endif
#endif
       ackE[o] = 0; ackR[o] = 0; ackL[o] = 0 }
  :: d_step { ackE[n] != 0 && !H -> ackE[n] = 0; ackR[n] = 0; ackL[n] = 0 }              /* lost */
  :: d_step { up[n] && pr[n] == n && act[n] && (!H || CI(n) > 0 && com[CI(n)-1] == 0) ->   /* commit: no lease needed */
       commit_index(); ok = 0; k = 0;
       do :: k < c -> assert(com[k] == 0 || com[k] == V(n,k)); com[k] = V(n,k);
             k++
          :: else -> break od;
       k = 0; c = 0; ok = 0; check() }
  /* ---- activate as (new or restarted) primary: everything inherited is held by all of S */
  :: d_step { up[n] && pr[n] == n && !act[n] && !prom[n] && dlen[n] == ln[n] && (S[n] == bit(n) && !aset[n] || match[n] >= base[n]) && ASKOK -> act[n] = 1; check() }
  /* ---- take over / remove / add: compare-and-swap */
  :: atomic { up[n] && pr[n] == o && S[n] == 3 && !prom[n] && rq[n] == 0 && ep[n] < MX && (!H || hmed && !bound[n] && vE[n] <= ep[n] && !up[o] && CAN(n)) && (!H || !CAN(o)) -> authority();
       if :: a == MED -> asked[n] = ep[n]; rq[n] = ep[n]; rN[n] = ep[n]+1; rP[n] = n; rS[n] = bit(n) :: else fi; a = 0 }
#ifdef M_SILENCE_GRANTS
  :: d_step { up[n] && pr[n] == o && S[n] == 3 && !prom[n] && ep[n] < MX -> ep[n]++; pr[n] = n; S[n] = bit(n); base[n] = ln[n]; match[n] = 0 }
#endif
  :: d_step { up[n] && pr[n] == n && S[n] == bit(n) && asked[n] == ep[n] && rq[n] == 0 && ep[n] < MX && (!H || hmed && vE[n] <= ep[n]) -> /* settle an open question */
       rq[n] = ep[n]; rN[n] = ep[n]+1; rP[n] = n; rS[n] = bit(n) }
  :: atomic { up[n] && pr[n] == n && S[n] == 3 && rq[n] == 0 && ep[n] < MX && (!H || !CAN(o) && (self[n] || hmed && vE[n] <= ep[n])) -> authority();
       if :: a == MED -> asked[n] = ep[n]; rq[n] = ep[n]; rN[n] = ep[n]+1; rP[n] = n; rS[n] = bit(n)
          :: a == n -> ep[n]++; S[n] = bit(n); match[n] = 0; check()
          :: else fi; a = 0 }
  :: d_step { up[n] && pr[n] == n && act[n] && S[n] == bit(n) && !aset[n] && up[o] && ep[n] == ep[o] && ep[n] < MX && (!H || CAN(o) && (self[n] || hmed) && ep[n] < MAXE+1) -> aset[n] = 1; jpos[n] = ln[n]; check() }
  :: atomic { up[n] && pr[n] == n && act[n] && S[n] == bit(n) && aset[n] && rq[n] == 0 && asked[n] == 0 && ep[n] < MX && JOINOK && (!H || self[n] && up[o] && bound[o] || !self[n] && hmed && vE[n] <= ep[n]) -> authority();
       if :: a == MED -> asked[n] = ep[n]; rq[n] = ep[n]; rN[n] = ep[n]+1; rP[n] = n; rS[n] = 3
          :: a == n && up[o] && bound[o] -> ep[n]++; S[n] = 3; aset[n] = 0
          :: else fi; a = 0 }
#ifdef M_JOIN_ABANDON
  :: d_step { aset[n] && up[n] -> aset[n] = 0 }
#else
  :: d_step { aset[n] && up[n] && asked[n] == 0 && (!H || !CAN(o)) -> aset[n] = 0; check() }
#endif
  :: d_step { rq[n] != 0 && (!H || !CAN(n)) -> rq[n] = 0; rN[n] = 0; rP[n] = 0; rS[n] = 0 }               /* lost (sender asks again) */
  :: d_step { rq[n] != 0 && HMED && CAN(n) ->                                                           /* mediator: persist, answer; request may stay = duplicate */
#ifdef M_MED_NOCAS
       if :: rN[n] > mE || rq[n] <= mE -> mE = (rN[n] > mE -> rN[n] : mE); mP = rP[n]; mS = rS[n] :: else fi;
#else
       if :: rq[n] == mE && rN[n] > mE -> mE = rN[n]; mP = rP[n]; mS = rS[n] :: else fi;
#endif
       vE[n] = mE; vP[n] = mP; vS[n] = mS; if :: H -> rq[n] = 0; rN[n] = 0; rP[n] = 0; rS[n] = 0 :: else fi }
#ifdef M_FORGET_VERDICT
  :: d_step { mE > 1 && crashes < CRASH -> crashes++; mE--; mP = 0; mS = 3 }
#endif
  :: d_step { up[n] && vE[n] != mE && HMED && CAN(n) && (!H || self[n] && mE == ep[n] || mE > ep[n] && vE[n] == 0 && !bound[n]) -> vE[n] = mE; vP[n] = mP; vS[n] = mS }              /* a status query answered */
  :: d_step { vE[n] != 0 && (!H || vE[n] < ep[n] || vE[n] == ep[n] && !self[n]) -> vE[n] = 0; vP[n] = 0; vS[n] = 0 }   /* reply lost, or (after healing) read: it says nothing new */
  :: atomic { up[n] && vE[n] > ep[n] -> authority();                                     /* verdict or news */
#ifdef M_BOUND_OBEYS_MED
       if :: true ->
#else
       if :: a == MED ->
#endif
             c = (vP[n] == n && pr[n] == n && act[n]); adopt(vE[n], vP[n], vS[n]);
             if :: !c -> act[n] = 0 :: else fi; c = 0; vE[n] = 0; vP[n] = 0; vS[n] = 0; check()
          :: else -> vE[n] = 0; vP[n] = 0; vS[n] = 0
       fi; a = 0 }
  /* ---- pre-election, heir = primary; its end: register, then log */
  :: d_step { up[n] && pr[n] == n && act[n] && !self[n] && !bid[n] && pre < PRE && asked[n] == 0 && !aset[n] && (!H || !hmed && S[n] == 3) -> pre++; nonce[n] = pre; bid[n] = 1 }
  :: d_step { bid[n] && (!H || asked[o] != 0) -> bid[n] = 0 }                       /* gives up */
  :: d_step { up[n] && up[o] && bid[o] && ep[n] == ep[o] && pr[n] == o && S[n] == 3 && BINDOK && (!H || vote[n] != nonce[o]) -> bound[n] = 1; vote[n] = nonce[o] }
  :: d_step { vote[n] != 0 && (!H || !up[o]) -> vote[n] = 0 }
  :: d_step { up[n] && bid[n] && pr[n] == n && asked[n] == 0 && (S[n] == bit(n) || vote[o] == nonce[n]) -> self[n] = 1; bid[n] = 0; vote[o] = 0; check() }
  :: d_step { up[n] && up[o] && ep[n] == ep[o] && pr[n] == o && pr[o] == o && self[o] && !bound[n] && BINDOK -> bound[n] = 1 }   /* a joiner binds itself */
  :: d_step { up[n] && up[o] && ep[n] == ep[o] && pr[n] == o && pr[o] == o && !self[o] && !bid[o] && bound[n] -> bound[n] = 0; vote[n] = 0 }  /* UNBIND(nonce) from the heir */
#ifdef M_HEIR_UNCOMMITTED
  :: d_step { up[n] && bid[n] && asked[n] == 0 -> self[n] = 1; bid[n] = 0; check() }   /* heir does not wait for the votes */
#endif
  :: d_step { up[n] && self[n] && pr[n] == n && rq[n] == 0 && mE < ep[n] && (!H || hmed) -> rq[n] = mE; rN[n] = ep[n]; rP[n] = n; rS[n] = S[n] }  /* register what is in force */
  :: d_step { up[n] && self[n] && pr[n] == n && vE[n] == ep[n] && vP[n] == n && vS[n] == S[n] && !aset[n] && (!H || hmed) -> /* mediator holds it: give the authority back */
             self[n] = 0; vE[n] = 0; vP[n] = 0; vS[n] = 0; check() }
  /* ---- learn a newer configuration from the peer */
  :: atomic { up[n] && up[o] && ep[o] > ep[n] ->  c = (pr[o] == n && pr[n] == n && act[n]); assert(!self[n]); adopt(ep[o], pr[o], S[o]); bound[n] = (self[o] && pr[o] == o); if :: !c -> act[n] = 0 :: else fi; c = 0; check() }
  /* ---- crash, restart */
  :: d_step { up[n] && (H && !CAN(n) || !H && crashes < CRASH) -> crashes = (H -> crashes : crashes+1); up[n] = 0; act[n] = 0; lease[n] = 0; aset[n] = 0; match[n] = 0; gfl[o] = 0;
       for (i : 0 .. LOG-1) { if :: i >= dlen[n] -> V(n,i) = 0; T(n,i) = 0 :: else fi }; ln[n] = dlen[n]; i = 0; prom[n] = 0; jpos[n] = 0; base[n] = 0; bid[n] = 0 }
  :: d_step { !up[n] && CAN(n) -> up[n] = 1; 
#ifdef M_RUN_NOT_BUMPED
#else
       rn[n]++;
#endif
       base[n] = ln[n]; RESTORE
#ifdef M_RESTART_FORGETS_PROMISE
       prom[n] = 0;
#else
       prom[n] = (lease[o] || gfl[n]);     /* waits a whole lease after start; matters only while o holds or may get one */
#endif
#ifdef M_RESTART_FORGETS_ASK
       asked[n] = 0;
#endif
       check() }
  od }

#ifdef LIVE
#define BOUND(n) (!self[n] && bound[n])
#define GOOD(n) (serving(n) && CI(n) == ln[n])
#define hmn(n) (hm == bit(n))
active proctype mon() {
  byte n;
  atomic { if :: hm = 3; hmed = 0 :: hm = 1; hmed = 1 :: hm = 2; hmed = 1 :: hm = 3; hmed = 1 fi; heal = 1;
    n = 0; do :: n < 2 -> if :: !CAN(n) && up[n] -> 
       up[n] = 0; act[n] = 0; lease[n] = 0; aset[n] = 0; match[n] = 0; gfl[o] = 0; rq[n] = 0; rN[n] = 0; rP[n] = 0; rS[n] = 0;
       for (i : 0 .. LOG-1) { if :: i >= dlen[n] -> V(n,i) = 0; T(n,i) = 0 :: else fi }; ln[n] = dlen[n]; i = 0; prom[n] = 0; jpos[n] = 0; base[n] = 0; bid[n] = 0
       :: else -> if :: !CAN(n) -> rq[n] = 0; rN[n] = 0; rP[n] = 0; rS[n] = 0 :: else fi fi; n++ :: else -> break od; n = 0 };
  timeout -> d_step { n = (hm == 2 -> 1 : 0); fin = 1;
  if
  :: hm == 3 -> assert(GOOD(0) || GOOD(1))
  :: hm != 3 -> /* n and the mediator: must serve if n is a sync member of the configuration in force */
#ifdef STRICT
     assert(GOOD(n) || !(mS & bit(n)) && !self[n])
#else
     assert(GOOD(n) || !(mS & bit(n)) && !self[n] || BOUND(n))
#endif
  fi }
}
#endif
#ifdef CYC
never { T0: do :: !heal :: heal -> break od; accept: do :: !fin od }   /* after healing, an endless run */
#endif
